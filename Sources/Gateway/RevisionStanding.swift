import Cluster

/// A revision, and how far it has come.
public struct RevisionStanding: Sendable {
  /// What a node does with it.
  public struct Node: Sendable {
    /// The node's name.
    public let name: String
    /// What it does; nil where it has not said.
    public let state: RevisionAck.State?
    /// How long after the publication it said so, in milliseconds.
    public let milliseconds: Int64
    /// Why it refuses, or what is to be said although it is in force.
    public let reason: String
  }

  /// What it is.
  public let entry: RevisionEntry
  /// Whether there is none after it.
  public let isNewest: Bool
  /// The members that live, and those that have said something of it, by name.
  public let nodes: [Node]

  init(_ entry: RevisionEntry, members: Set<String>, newest: Int64?) {
    self.entry = entry
    isNewest = newest == entry.head.revision
    let acks = Dictionary(entry.acks.map { ($0.node, $0) }) { first, _ in first }
    nodes = members.union(acks.keys).sorted().map { name in
      let ack = acks[name]
      return Node(
        name: name, state: ack?.state, milliseconds: ack.map { max(0, ($0.time - entry.time) / 1000) } ?? 0,
        reason: ack?.reason ?? "")
    }
  }

  /// Whether every node that should run it says that it does.
  public var isComplete: Bool { nodes.allSatisfy { !entry.head.isFor($0.name) || $0.state == .active } }
}
