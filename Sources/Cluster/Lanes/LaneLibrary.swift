/// How a Redis runs the decision library.
public enum LaneDialect: Sendable {
  /// As a Function, on 7.0 and newer.
  case function
  /// As a script, on 6.2 or where Functions are refused.
  case script
}

/// The decision library. A later major version has other names and counts in the same hashes, so that nodes with the old
/// and the new one serve side by side.
public enum LaneLibrary {
  /// The library that this program speaks.
  public static let current = StoreLibrary(
    name: "gwrl_1", source: String(decoding: PackageResources.lanes_lua, as: UTF8.self))
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
  let laneLibrary: StoreLibrary

  /// The caller of these names; nil unless `replicationID` has 40 bytes.
  public init?(replicationID: [UInt8], node: UInt64, dialect: LaneDialect, library: StoreLibrary = LaneLibrary.current)
  {
    // A call is written with the length of a name of this house.
    precondition(library.name.utf8.count == 6)
    guard replicationID.count == Self.replicationIDBytes else { return nil }
    self.replicationID = replicationID
    self.node = node
    self.dialect = dialect
    self.laneLibrary = library
  }
}
