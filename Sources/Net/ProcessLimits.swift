import CLinux
import Core
import Glibc

/// What the process may use.
public enum ProcessLimits {
  /// How many descriptors the process may have open.
  public struct Descriptors: Equatable, Sendable {
    /// What the kernel enforces now.
    public var current: Int
    /// What the kernel would allow without further privileges.
    public var maximum: Int
  }

  /// How many processors the process may run on (its affinity, as `taskset` and container runtimes set it).
  public static var processors: Int {
    // Room for 4,096 processors; the kernel refuses less than it has.
    var mask = [UInt64](repeating: 0, count: 64)
    guard unsafe mask.withUnsafeMutableBytes({ unsafe sched_getaffinity(0, $0.count, $0.baseAddress) }) == 0 else {
      return 1
    }
    let count = mask.reduce(0) { $0 + $1.nonzeroBitCount }
    return max(1, count)
  }

  /// What the machine, or the container, calls itself; "localhost" where it does not say.
  public static var hostName: String {
    var name = [CChar](repeating: 0, count: 256)
    // One byte less, so that the text always ends in a zero.
    guard unsafe gethostname(&name, name.count - 1) == 0, let end = name.firstIndex(of: 0), end > 0 else {
      return "localhost"
    }
    return String(decoding: name[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// What the process sees of a machine: two processes in which this text is the same reach each other's loopback addresses
  /// and unix sockets. Empty where the system does not tell.
  public static var placement: String {
    let network = link("/proc/self/ns/net")
    let files = link("/proc/self/ns/mnt")
    var boot = [UInt8](repeating: 0, count: 36)
    let file = unsafe open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { Glibc.close(file) }
    guard unsafe read(file, &boot, boot.count) == boot.count, !network.isEmpty, !files.isEmpty else { return "" }
    return "\(String(decoding: boot, as: UTF8.self)) \(network) \(files)"
  }

  private static func link(_ path: String) -> String {
    var text = [CChar](repeating: 0, count: 64)
    let count = unsafe readlink(path, &text, text.count)
    return count > 0 ? String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
  }

  /// Gives memory that was freed back to the kernel. Costs about a millisecond for 10 MB; for after something large.
  public static func releaseFreeMemory() { malloc_trim(0) }

  /// The limit of descriptors now.
  public static var descriptors: Descriptors {
    var limit = rlimit()
    _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return Descriptors(current: Int(clamping: limit.rlim_cur), maximum: Int(clamping: limit.rlim_max))
  }

  /// Raises the limit of descriptors to what the kernel allows, and reports it. A gateway needs two a request.
  @discardableResult
  public static func raiseDescriptors() -> Descriptors {
    var limit = rlimit()
    _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return descriptors
  }
}

/// Why privileges could not be given up.
public enum PrivilegeError: Error, Hashable, Sendable {
  /// No user has that name.
  case unknownUser(String)
  /// No group has that name.
  case unknownGroup(String)
  /// The process is not root and not that user, so it cannot become it.
  case notRoot
  /// The system refused, with Linux's error number.
  case system(code: Int32)
}

/// The user that the process runs as.
public enum Privileges {
  /// Whether the process runs as root.
  public static var isRoot: Bool { geteuid() == 0 }

  /// Becomes `user` for good, in all threads: call it after the listening sockets are open. The groups are those of
  /// the user, with `group` in place of the primary one where given. Without effect where the process already runs as
  /// that user. It blocks (the name service may ask the network).
  public static func drop(toUser user: String, group: String? = nil) throws(PrivilegeError) {
    guard let (uid, primary) = lookUp(user: user) else { throw .unknownUser(user) }
    var gid = primary
    if let group {
      guard let found = lookUp(group: group) else { throw .unknownGroup(group) }
      gid = found
    }
    if !isRoot {
      guard geteuid() == uid, getuid() == uid else { throw .notRoot }
      return
    }
    guard unsafe initgroups(user, gid) == 0, setgid(gid) == 0, setuid(uid) == 0 else { throw .system(code: errno) }
    // Whoever can go back has not left.
    precondition(uid == 0 || setuid(0) != 0, "the process kept a way back to root")
  }

  /// Makes the folder at `path`, itself and not what is in it, `user`'s own: for what the process must go on writing after
  /// ``drop(toUser:group:)``. Without effect where the process is not root. A link is not followed.
  public static func give(folder path: String, toUser user: String) throws(PrivilegeError) {
    guard isRoot else { return }
    guard let (uid, gid) = lookUp(user: user) else { throw .unknownUser(user) }
    guard unsafe lchown(path, uid, gid) == 0 else { throw .system(code: errno) }
  }

  private static func lookUp(user: String) -> (uid_t, gid_t)? {
    var entry = unsafe passwd()
    var found: UnsafeMutablePointer<passwd>?
    var room = [CChar](repeating: 0, count: 16_384)
    let count = room.count
    let code = unsafe getpwnam_r(user, &entry, &room, count, &found)
    guard code == 0, unsafe found != nil else { return nil }
    return unsafe (entry.pw_uid, entry.pw_gid)
  }

  private static func lookUp(group: String) -> gid_t? {
    var entry = unsafe Glibc.group()
    var found: UnsafeMutablePointer<group>?
    var room = [CChar](repeating: 0, count: 16_384)
    let count = room.count
    let code = unsafe getgrnam_r(group, &entry, &room, count, &found)
    guard code == 0, unsafe found != nil else { return nil }
    return unsafe entry.gr_gid
  }
}
