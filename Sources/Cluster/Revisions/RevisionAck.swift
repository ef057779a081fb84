/// What a node says of a revision.
public struct RevisionAck: Equatable, Sendable {
  /// What it does with it.
  public enum State: String, Sendable {
    /// It is in force on all loops of the node.
    case active
    /// Other nodes have it first.
    case staged
    /// It cannot be used there.
    case refused
  }

  /// The node's name.
  public let node: String
  /// The revision.
  public let revision: Int64
  /// When it said so, by the store's clock, in microseconds since 1970.
  public let time: Int64
  /// What it does with it.
  public let state: State
  /// Why it refuses, or what is to be said of a revision that is in force: that it is not on the node's disk. Empty otherwise.
  public let reason: String

  /// Reads what the library keeps for a node; nil for anything else.
  init?(node: String, _ text: String) {
    let words = text.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
    guard words.count == 4, let revision = Int64(words[0]), let time = Int64(words[1]),
      let state = State(rawValue: String(words[2]))
    else { return nil }
    self.node = node
    (self.revision, self.time, self.state, reason) = (revision, time, state, String(words[3]))
  }

  /// Reads what is published of one: the node's name, and what the library keeps.
  public init?(published text: String) {
    guard let space = text.firstIndex(of: " ") else { return nil }
    self.init(node: String(text[..<space]), String(text[text.index(after: space)...]))
  }
}

/// One of the last revisions, with what nodes say of it.
public struct RevisionEntry: Equatable, Sendable {
  /// What it is.
  public let head: RevisionHead
  /// Its name: the SHA-256 of the signed head.
  public let name: RevisionName
  /// When it was published, by the store's clock, in microseconds since 1970.
  public let time: Int64
  /// What nodes say of it; each says something of one revision only, the last that it heard of.
  public let acks: [RevisionAck]
}
