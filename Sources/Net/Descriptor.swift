import CLinux
import Core
import Glibc

/// A file descriptor with one owner, closed when the owner lets go.
struct Descriptor: ~Copyable, Sendable {
  let number: Int32

  init(_ number: Int32) { self.number = number }

  deinit { _ = Glibc.close(number) }

  /// Hands the number over to a new owner.
  consuming func release() -> Int32 {
    let number = number
    discard self
    return number
  }
}

/// A way to wake one thread out of `epoll_wait` or out of ``wait(milliseconds:)``, from any thread.
struct WakeUp: ~Copyable, Sendable {
  let descriptor: Descriptor

  /// With `wakesOneByOne` a signal wakes one of several waiting threads, otherwise all signals so far count as one.
  init(wakesOneByOne: Bool = false) throws(NetworkError) {
    let number = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC | (wakesOneByOne ? EFD_SEMAPHORE : 0)))
    guard number >= 0 else { throw NetworkError(code: errno) }
    descriptor = Descriptor(number)
  }

  /// Wakes the waiting thread, now or when it next waits.
  func signal() {
    var one: UInt64 = 1
    // A full counter (2^64 − 2 unread signals) is the only refusal, and it means that the thread is being woken.
    _ = unsafe Glibc.write(descriptor.number, &one, 8)
  }

  /// Blocks the calling thread until a signal or until `milliseconds` have passed; −1 waits for ever.
  func wait(milliseconds: Int32) {
    var entry = pollfd(fd: descriptor.number, events: Int16(POLLIN), revents: 0)
    guard unsafe poll(&entry, 1, milliseconds) > 0 else { return }
    var count: UInt64 = 0
    _ = unsafe Glibc.read(descriptor.number, &count, 8)
  }
}
