import Glibc

/// Standard output and error, and the files that a verb reads and writes whole. Unbuffered, so that nothing is lost when
/// a process is killed; for slow paths only.
enum Console {
  /// Writes to standard output.
  static func output(_ text: String) { _ = write(Array(text.utf8), to: 1) }

  /// Writes to standard error.
  static func error(_ text: String) { _ = write(Array(text.utf8), to: 2) }

  /// Whether standard error is a terminal that a person may be looking at.
  static var showsProgress: Bool { isatty(2) == 1 }

  /// Why a file could not be read or written.
  struct FileError: Error {
    /// The path and the system's reason.
    let message: String
  }

  /// Reads a file whole, or standard input for `-`; refuses what is larger than `limit` bytes.
  static func read(_ path: String, limit: Int) throws(FileError) -> [UInt8] {
    let descriptor = path == "-" ? 0 : unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure(path) }
    defer { if descriptor != 0 { close(descriptor) } }
    var bytes: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 65536)
    while true {
      let size = block.count
      // The block is as large as we say.
      let count = unsafe block.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, size) }
      if count == 0 { return bytes }
      if count < 0 {
        if errno == EINTR { continue }
        throw failure(path)
      }
      guard bytes.count + count <= limit else { throw FileError(message: "\(path): larger than \(limit) bytes") }
      bytes += block[..<count]
    }
  }

  /// The words of the command line behind the program's name. The runtime looks for them beside the environment and finds
  /// none where a preloaded library has moved that; then the kernel is asked.
  static var arguments: [String] {
    let words = CommandLine.arguments
    guard words.isEmpty, let bytes = try? read("/proc/self/cmdline", limit: 4 << 20) else {
      return Array(words.dropFirst())
    }
    return bytes.split(separator: 0, omittingEmptySubsequences: false).dropFirst().dropLast().map {
      String(decoding: $0, as: UTF8.self)
    }
  }

  /// Writes a file whole, replacing what was there; `-` is standard output.
  static func write(_ text: String, to path: String) throws(FileError) {
    let descriptor = path == "-" ? 1 : unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw failure(path) }
    defer { if descriptor != 1 { close(descriptor) } }
    guard write(Array(text.utf8), to: descriptor) else { throw failure(path) }
  }

  private static func failure(_ path: String) -> FileError {
    FileError(message: "\(path): \(unsafe String(cString: strerror(errno)))")
  }

  private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
    var sent = 0
    while sent < bytes.count {
      // Stays within the array: `sent` is below its count.
      let count = unsafe bytes.withUnsafeBytes {
        unsafe Glibc.write(descriptor, $0.baseAddress! + sent, $0.count - sent)
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return false }
      sent += count
    }
    return true
  }
}
