/// Who a node is among the members of its cluster.
public struct NodeIdentity: Equatable, Sendable {
  /// A random number of this life of the process, as 16 hexadecimal digits: a node that starts anew is another one.
  public let id: String
  /// What people call it.
  public let name: String
  /// The version of the program.
  public let version: String

  /// The identity of a node that drew `nonce`.
  public init(nonce: UInt64, name: String, version: String) {
    let digits = String(nonce, radix: 16)
    id = String(repeating: "0", count: 16 - digits.utf8.count) + digits
    self.name = name
    self.version = version
  }
}
