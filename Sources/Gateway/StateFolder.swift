import Cluster
import Core
import Glibc
import Net

/// The folder in which a node keeps what must outlive a restart.
public enum StateFolder {
  /// The folder of a node: what its file says, `$STATE_DIRECTORY`, or the usual place for such things.
  public static func path(of own: NodeSections, nodeName: String) -> String {
    if let path = own.node.state { return path }
    if let path = variable("STATE_DIRECTORY") { return path }
    // A name that was made of the host and a port has a colon, which paths in variables do not like.
    let name = "\(own.cluster.name)-\(nodeName.replacing(":", with: "-"))"
    if geteuid() == 0 { return "/var/lib/sluice/\(name)" }
    return (variable("HOME") ?? "/tmp") + "/.local/state/sluice/\(name)"
  }

  /// What is kept in folders of its own below it.
  static let revisions = "revisions"
  static let facts = "facts"

  /// The file in which a router keeps which nodes there are, and its most bytes.
  static func nodes(of own: NodeSections, nodeName: String) -> String { path(of: own, nodeName: nodeName) + "/nodes" }
  static let longestNodes = 16 << 20

  /// Makes the folders that a node writes to, and makes them `user`'s: before the node becomes that user.
  static func give(_ own: NodeSections, nodeName: String, toUser user: String, report: (String) -> Void) {
    let folder = path(of: own, nodeName: nodeName)
    for path in [folder, "\(folder)/\(revisions)", "\(folder)/\(facts)"] {
      do {
        try DurableFile.makeFolder(path)
        try Privileges.give(folder: path, toUser: user)
      } catch {
        return report("cannot make \(path) a folder of \(user) (\(error)); name one that is, as node.state")
      }
    }
  }

  private static func variable(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    let text = unsafe String(cString: value)
    return text.isEmpty ? nil : text
  }
}

/// Keeps the last revisions in a folder, each in a file that is called by its number.
///
/// A file appears whole or not at all, and older ones go only after that: at every moment of a crash there is at least what
/// was there before. Belongs to one thread.
public final class RevisionFolder: RevisionShelf {
  private static let prefix = "revision-"
  /// The most files that are read, should there be strange ones.
  private static let mostFiles = 12
  private let path: String
  /// Told each time why something could not be kept; on any thread.
  public var onFault: @Sendable (String) -> Void = { _ in }

  /// Whether nothing is there.
  public var isEmpty: Bool { Self.names(path).isEmpty }

  /// A folder, which is made when something is to be kept.
  public init(_ path: String) { self.path = path }

  /// What is there and can be read.
  public func load() -> [(name: String, bytes: [UInt8])] {
    let names = Self.names(path).sorted(by: >).prefix(Self.mostFiles)
    return names.compactMap { name in
      (try? DurableFile.read("\(path)/\(name)", limit: LastGood.limit)).map { (name, $0) }
    }
  }

  /// Writes a file on a thread of its own that gives way: a disk may take milliseconds of a core, and a second of time. Not
  /// twice at the same time.
  public func keep(_ bytes: [UInt8], revision: Int64, done: @escaping @Sendable (String?) -> Void) {
    let (path, onFault) = (path, onFault)
    OSThread.run(name: "state", givesWay: true) {
      let fault = Self.write(bytes, revision, path)
      if let fault { onFault(fault) }
      done(fault)
    }
  }

  private static func write(_ bytes: [UInt8], _ revision: Int64, _ path: String) -> String? {
    let digits = String(revision)
    let name = prefix + String(repeating: "0", count: max(0, 19 - digits.utf8.count)) + digits
    do throws(DurableFile.Failure) {
      try DurableFile.makeFolder(path)
      try DurableFile.write(bytes, to: "\(path)/\(name)")
      for old in names(path).sorted(by: >).dropFirst(LastGood.kept) { try DurableFile.remove("\(path)/\(old)") }
      return nil
    } catch {
      return "\(path): \(describe(error))"
    }
  }

  /// The finished files; those of a revision that is not there yet are no names of one.
  private static func names(_ path: String) -> [String] {
    let names = (try? DurableFile.names(in: path)) ?? []
    return names.filter { name in
      name.hasPrefix(prefix) && name.utf8.count == prefix.utf8.count + 19
        && name.utf8.dropFirst(prefix.utf8.count).allSatisfy { (48...57).contains($0) }
    }
  }

  /// What was wrong, in words.
  static func describe(_ failure: DurableFile.Failure) -> String {
    switch failure {
    case .missing: "there is no such folder"
    case .notPermitted: "the process may not write there; name another folder as node.state"
    case .full: "the disk is full"
    case .tooLarge: "the file is too large"
    case .notAFile: "it is no regular file"
    case .system(let code): "error \(code) of the system"
    }
  }
}
