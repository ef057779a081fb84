// A unix path has no SO_REUSEPORT: the loops of a process share one queue. The first loop that listens on a path binds
// it, the others get duplicates of its descriptor, and the last to leave removes the path.
import CLinux
import Core
import Glibc
import Synchronization

/// The unix sockets that this process listens on. One lock, taken when a listener opens or closes and never nested.
final class UnixListeners: Sendable {
  static let shared = UnixListeners()

  private struct Entry {
    var descriptor: Int32
    var device: UInt
    var inode: UInt
    var users: Int
  }

  private let entries = Mutex<[String: Entry]>([:])

  /// A descriptor that listens on `path`, bound now or shared with the loops that already do.
  func join(_ path: String, _ options: ListenOptions) throws(NetworkError) -> Descriptor {
    let outcome = entries.withLock { entries -> Result<Int32, NetworkError> in
      if var entry = entries[path] {
        guard options.sharesPort else { return .failure(.addressInUse) }
        let copy = Self.duplicate(entry.descriptor)
        guard copy >= 0 else { return .failure(NetworkError(code: errno)) }
        entry.users += 1
        entries[path] = entry
        return .success(copy)
      }
      do throws(NetworkError) {
        let bound = try Self.bind(path, options)
        let copy = Self.duplicate(bound.number)
        guard copy >= 0 else { return .failure(NetworkError(code: errno)) }
        var status = stat()
        _ = unsafe lstat(path, &status)
        entries[path] = Entry(descriptor: bound.release(), device: status.st_dev, inode: status.st_ino, users: 1)
        return .success(copy)
      } catch {
        return .failure(error)
      }
    }
    return Descriptor(try outcome.get())
  }

  /// One loop listens on `path` no longer.
  func leave(_ path: String) {
    entries.withLock { entries in
      guard var entry = entries[path] else { return }
      entry.users -= 1
      entries[path] = entry
      guard entry.users == 0 else { return }
      entries[path] = nil
      _ = Glibc.close(entry.descriptor)
      // The next process may have taken the path over in the meantime; then it is no longer ours to remove.
      var status = stat()
      if unsafe lstat(path, &status) == 0, status.st_dev == entry.device, status.st_ino == entry.inode {
        _ = unsafe unlink(path)
      }
    }
  }

  private static func duplicate(_ descriptor: Int32) -> Int32 {
    fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
  }

  /// Binds beside `path` and renames over it, so that a process can take a path over without a moment in which
  /// nobody listens. Something that is not a socket is never replaced.
  private static func bind(_ path: String, _ options: ListenOptions) throws(NetworkError) -> Descriptor {
    var status = stat()
    if unsafe lstat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFSOCK else { throw .addressInUse }
      if !options.sharesPort, isAlive(path) { throw .addressInUse }
    }
    let beside = "\(path).\(getpid())"
    guard let native = NativeAddress(.unix(path: beside)) else { throw .system(code: ENAMETOOLONG) }
    let listener = Descriptor(
      socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0))
    let number = listener.number
    guard number >= 0 else { throw NetworkError(code: errno) }
    _ = unsafe unlink(beside)
    guard unsafe native.withPointer({ unsafe Glibc.bind(number, $0, $1) }) == 0 else { throw NetworkError(code: errno) }
    if let mode = options.mode { _ = unsafe chmod(beside, mode) }
    guard Glibc.listen(number, options.backlog) == 0, unsafe rename(beside, path) == 0 else {
      let code = errno
      _ = unsafe unlink(beside)
      throw NetworkError(code: code)
    }
    return listener
  }

  private static func isAlive(_ path: String) -> Bool {
    guard let native = NativeAddress(.unix(path: path)) else { return false }
    let probe = Descriptor(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
    let number = probe.number
    return unsafe native.withPointer { unsafe Glibc.connect(number, $0, $1) } == 0
  }
}
