import Glibc

/// Questions to whoever sits at a terminal.
enum Terminal {
  /// Whether somebody can be asked: standard input is a terminal.
  static var canAsk: Bool { isatty(0) == 1 }

  /// Asks for a line that does not show while it is typed; empty where the terminal has gone. Of a line longer than the
  /// terminal takes, the front.
  static func ask(_ prompt: String) -> [UInt8] {
    Console.error(prompt)
    var settings = termios()
    // Both calls fill in or read the value that they are given.
    let isKnown = unsafe tcgetattr(0, &settings) == 0
    var silent = settings
    // Without signals, so that nobody is left at a silent terminal: an interrupt comes as a byte, which is no password.
    silent.c_lflag &= ~tcflag_t(ECHO | ISIG)
    if isKnown { _ = unsafe tcsetattr(0, TCSAFLUSH, &silent) }
    defer {
      if isKnown { _ = unsafe tcsetattr(0, TCSAFLUSH, &settings) }
      Console.error("\n")
    }
    var line = [UInt8](repeating: 0, count: 4_096)
    let size = line.count
    // The line is as large as we say.
    let count = unsafe line.withUnsafeMutableBytes { unsafe read(0, $0.baseAddress, size) }
    guard count > 0 else { return [] }
    return PasswordText.line(Array(line[..<count]))
  }
}
