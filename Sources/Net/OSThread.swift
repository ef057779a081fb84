import CLinux
import Glibc

/// A thread of the operating system: loops and blocking helpers each own one.
public struct OSThread: Sendable {
  private let handle: pthread_t

  private final class Body {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  /// Starts a thread that runs `body`. `name` shows in `top` and `ps`, cut to 15 bytes. Traps where the system
  /// refuses another thread: nothing sensible could go on without it at start.
  public static func spawn(name: String, _ body: @escaping @Sendable () -> Void) -> OSThread {
    guard let thread = start(name: name, body) else { preconditionFailure("the system refused another thread") }
    return thread
  }

  /// Runs `body` on a thread that nobody waits for; where the system refuses another thread, on the calling one.
  ///
  /// With `givesWay` the thread has the least weight there is: a core that loops want is theirs within a few microseconds,
  /// and where they leave nothing it still gets some hundredth of it. It must hold no lock that a loop takes.
  public static func run(name: String, givesWay: Bool = false, _ body: @escaping @Sendable () -> Void) {
    let started = start(name: name) {
      // 0 is the calling thread; lowering it is permitted to everybody, and all that a failure costs is some delay.
      if givesWay { _ = setpriority(Int32(PRIO_PROCESS.rawValue), 0, leastWeight) }
      body()
    }
    guard let thread = started else { return body() }
    _ = pthread_detach(thread.handle)
  }

  /// The nice value of least weight.
  private static let leastWeight: Int32 = 19

  /// Has the calling thread do nothing for so long.
  public static func pause(microseconds: UInt32) { _ = usleep(microseconds) }

  private static func start(name: String, _ body: @escaping @Sendable () -> Void) -> OSThread? {
    var handle = pthread_t()
    var short = Array(name.utf8.prefix(15))
    short.append(0)
    let named: @Sendable () -> Void = { [short] in
      // A thread's own name costs a system call; that of another one costs three, and a file of /proc.
      _ = unsafe short.withUnsafeBytes { bytes in
        unsafe pthread_setname_np(pthread_self(), bytes.baseAddress?.assumingMemoryBound(to: CChar.self))
      }
      body()
    }
    let context = unsafe Unmanaged.passRetained(Body(named)).toOpaque()
    let code = unsafe pthread_create(
      &handle, nil,
      { context in
        // `start` retained the body for this thread alone.
        if let context = unsafe context {
          let body = unsafe Unmanaged<Body>.fromOpaque(context).takeRetainedValue()
          body.run()
        }
        return nil
      }, context)
    guard code == 0 else {
      unsafe Unmanaged<Body>.fromOpaque(context).release()
      return nil
    }
    return OSThread(handle: handle)
  }

  /// Waits until the thread has ended. Once for each thread.
  public func join() { _ = pthread_join(handle, nil) }

  /// Sends a signal to this thread alone.
  func raise(_ number: Int32) { _ = pthread_kill(handle, number) }
}
