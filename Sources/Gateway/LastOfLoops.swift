import Synchronization

/// Finds out when the last loop has done something, which each does on its own thread.
final class LastOfLoops: Sendable {
  private let left: Atomic<Int>
  private let done: @Sendable () -> Void

  /// Calls `done` when ``count()`` has been called so many times.
  init(_ loops: Int, _ done: @escaping @Sendable () -> Void) {
    left = Atomic(loops)
    self.done = done
  }

  func count() {
    if left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { done() }
  }
}
