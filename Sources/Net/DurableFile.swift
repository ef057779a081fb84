// Files that a node must find again after a crash, at any moment of it: the old content or the new one, never a part.
//
// A file is written beside its place, flushed to the disk, renamed over the old one, and the folder is flushed, since the
// rename itself lives there. Whatever the machine does in between, the name leads to a whole file.

import Core
import Glibc

/// Reads and writes small files that must outlive crashes. Calls block for as long as the disk takes.
public enum DurableFile {
  /// Why a file could not be read or written.
  public enum Failure: Error, Equatable, Sendable {
    /// There is no such file or folder.
    case missing
    /// The process may not.
    case notPermitted
    /// The disk is full, or a quota is.
    case full
    /// The file has more bytes than the reader takes.
    case tooLarge
    /// It is no regular file.
    case notAFile
    /// Anything else, with Linux's error number.
    case system(code: Int32)

    init(code: Int32) {
      switch code {
      case ENOENT, ENOTDIR: self = .missing
      case EACCES, EPERM, EROFS, ELOOP: self = .notPermitted
      case ENOSPC, EDQUOT: self = .full
      default: self = .system(code: code)
      }
    }
  }

  /// What a file that is being written is called, behind its own name. One that is found was never finished.
  public static let unfinishedSuffix = ".unfinished"

  /// Makes the folder at `path` and those above it where they are missing, for the process's user alone (0700).
  public static func makeFolder(_ path: String) throws(Failure) {
    guard unsafe mkdir(path, 0o700) != 0, errno != EEXIST else { return }
    guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
      throw Failure(code: errno)
    }
    try makeFolder(String(path[..<slash]))
    guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else { throw Failure(code: errno) }
  }

  /// Makes `bytes` the content of the file at `path`, readable by the process's user alone (0600). After a failure, or a
  /// crash, what was there before is still there.
  public static func write(_ bytes: [UInt8], to path: String) throws(Failure) {
    let unfinished = path + unfinishedSuffix
    let file = try open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW)
    do throws(Failure) {
      try write(bytes, to: file)
      guard fsync(file.number) == 0 else { throw Failure(code: errno) }
      guard unsafe rename(unfinished, path) == 0 else { throw Failure(code: errno) }
    } catch {
      _ = unsafe unlink(unfinished)
      throw error
    }
    try flushFolder(of: path)
  }

  /// The content of the file at `path`, of at most `limit` bytes.
  public static func read(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
    let file = try open(path, O_RDONLY | O_NONBLOCK)
    var status = stat()
    guard unsafe fstat(file.number, &status) == 0 else { throw Failure(code: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .notAFile }
    guard status.st_size <= limit else { throw .tooLarge }
    var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
    var count = 0
    while count < bytes.count {
      // There is room for `bytes.count - count` bytes from there on.
      let result = unsafe bytes.withUnsafeMutableBytes {
        unsafe Glibc.read(file.number, $0.baseAddress! + count, $0.count - count)
      }
      if result < 0, errno == EINTR { continue }
      guard result >= 0 else { throw Failure(code: errno) }
      if result == 0 { break }
      count += result
    }
    return Array(bytes[..<count])
  }

  /// Removes the file at `path`; nothing happens where there is none.
  public static func remove(_ path: String) throws(Failure) {
    guard unsafe unlink(path) == 0 || errno == ENOENT else { throw Failure(code: errno) }
    try flushFolder(of: path)
  }

  /// The names of what is in the folder at `path`, in alphabetical order.
  public static func names(in path: String) throws(Failure) -> [String] {
    guard let folder = unsafe opendir(path) else { throw Failure(code: errno) }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        // The kernel ends the name with a zero within the field.
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  private static func open(_ path: String, _ flags: Int32) throws(Failure) -> Descriptor {
    let number = unsafe Glibc.open(path, flags | O_CLOEXEC, 0o600)
    guard number >= 0 else { throw Failure(code: errno) }
    return Descriptor(number)
  }

  private static func write(_ bytes: [UInt8], to file: borrowing Descriptor) throws(Failure) {
    var start = 0
    while start < bytes.count {
      // The address lies within the array.
      let count = unsafe bytes.withUnsafeBytes {
        unsafe Glibc.write(file.number, $0.baseAddress! + start, $0.count - start)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw Failure(code: errno) }
      start += count
    }
  }

  private static func flushFolder(of path: String) throws(Failure) {
    let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    let file = try open(folder, O_RDONLY | O_DIRECTORY)
    guard fsync(file.number) == 0 else { throw Failure(code: errno) }
  }
}
