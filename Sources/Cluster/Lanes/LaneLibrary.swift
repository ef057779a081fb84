import Core
import Crypto

/// How a Redis runs the decision library.
public enum LaneDialect: Sendable {
  /// As a Function, on 7.0 and newer.
  case function
  /// As a script, on 6.2 or where Functions are refused.
  case script
}

/// The decision library: the program that Redis runs, and its names. A later major version has other names, so that nodes
/// with the old and the new one serve side by side.
public enum LaneLibrary {
  /// The library's name, and that of its one function.
  public static let name = "gwrl_1"

  /// What `FUNCTION LOAD` takes.
  public static let functionSource = "#!lua name=\(name)\n" + scriptSource

  /// What `SCRIPT LOAD` takes.
  public static let scriptSource = String(decoding: PackageResources.lanes_lua, as: UTF8.self)

  /// The 40 digits that `EVALSHA` takes.
  static let scriptDigest = {
    let digits = Array("0123456789abcdef".utf8)
    let digest = SHA1.digest(of: RawSpan(Array(scriptSource.utf8)))
    return digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
  }()
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

  /// The caller of these names; nil unless `replicationID` has 40 bytes.
  public init?(replicationID: [UInt8], node: UInt64, dialect: LaneDialect) {
    guard replicationID.count == Self.replicationIDBytes else { return nil }
    self.replicationID = replicationID
    self.node = node
    self.dialect = dialect
  }
}
