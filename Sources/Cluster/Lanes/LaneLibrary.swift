import Core
import Crypto

/// How a Redis runs the decision library.
public enum LaneDialect: Sendable {
  /// As a Function, on 7.0 and newer.
  case function
  /// As a script, on 6.2 or where Functions are refused.
  case script
}

/// The decision library: the program that Redis runs, and its names. A later major version has other names and counts in
/// the same hashes, so that nodes with the old and the new one serve side by side.
public struct LaneLibrary: Sendable {
  /// The library's name, and that of its one function: six bytes.
  public let name: String
  /// What `FUNCTION LOAD` takes.
  public let functionSource: String
  /// What `SCRIPT LOAD` takes.
  public let scriptSource: String
  /// The 40 digits that `EVALSHA` takes.
  let scriptDigest: [UInt8]

  /// The library that this program speaks.
  public static let current = LaneLibrary(
    name: "gwrl_1", source: String(decoding: PackageResources.lanes_lua, as: UTF8.self))

  /// A library that registers its function as `name`.
  init(name: String, source: String) {
    precondition(name.utf8.count == 6)
    self.name = name
    scriptSource = source
    functionSource = "#!lua name=\(name)\n" + source
    let digits = Array("0123456789abcdef".utf8)
    scriptDigest = SHA1.digest(of: RawSpan(Array(source.utf8))).flatMap {
      [digits[Int($0 >> 4)], digits[Int($0 & 15)]]
    }
  }

  /// What a connection loads where it is missing.
  var redis: RedisLibrary { RedisLibrary(name: name, source: functionSource, scripts: [scriptSource]) }
}

/// Whom Redis talks to: sent with every call.
public struct LaneCaller: Sendable {
  /// Bytes of a replication id.
  public static let replicationIDBytes = 40

  /// The replication id that the node read from this primary (`INFO replication`), 40 bytes.
  public let replicationID: [UInt8]
  /// The node, by a number that no other member has; a new one for each life of the process.
  public let node: UInt64
  /// How the library is run there.
  public let dialect: LaneDialect
  /// The library that is called.
  let laneLibrary: LaneLibrary

  /// The caller of these names; nil unless `replicationID` has 40 bytes.
  public init?(replicationID: [UInt8], node: UInt64, dialect: LaneDialect, library: LaneLibrary = .current) {
    guard replicationID.count == Self.replicationIDBytes else { return nil }
    self.replicationID = replicationID
    self.node = node
    self.dialect = dialect
    self.laneLibrary = library
  }
}
