import Core
import Glibc

/// A request to the process from outside.
public enum Signal: Int32, Sendable, CaseIterable {
  /// SIGHUP: read the configuration again.
  case hangUp = 1
  /// SIGINT: Ctrl-C.
  case interrupt = 2
  /// SIGUSR1: reopen the logs.
  case userOne = 10
  /// SIGUSR2.
  case userTwo = 12
  /// SIGTERM: end in an orderly way.
  case terminate = 15
}

/// Turns signals into calls, so that no code ever runs in a signal handler.
public enum Signals {
  /// Makes a lost reader an error of the write that noticed it, and not the end of the process.
  static func ignoreBrokenPipes() { _ = signal(SIGPIPE, SIG_IGN) }

  /// Blocks `signals` in the calling thread and in all that it will spawn, and starts a thread that calls `deliver` for
  /// each that arrives, one after the other. Call it first thing on the main thread. It lasts as long as the process.
  @discardableResult
  public static func watch(
    _ signals: [Signal], _ deliver: @escaping @Sendable (Signal) -> Void
  ) -> OSThread {
    var set = sigset_t()
    _ = unsafe sigemptyset(&set)
    for signal in signals { _ = unsafe sigaddset(&set, signal.rawValue) }
    _ = unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    return OSThread.spawn(name: "signals") { [set] in
      var set = set
      while true {
        var number: Int32 = 0
        guard unsafe sigwait(&set, &number) == 0, let signal = Signal(rawValue: number) else { continue }
        deliver(signal)
      }
    }
  }
}
