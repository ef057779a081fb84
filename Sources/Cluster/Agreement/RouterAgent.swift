// A router's part in a cluster: it knows which nodes take requests, and tells people that it is there. It never leads, and
// what it knows outlasts the store: where that is gone, or has been emptied, the nodes are those that were there last.

import Core
import Crypto

/// A router's view of its cluster.
public final class RouterAgent: StoreAgent {
  /// The nodes that take requests, as far as the router knows.
  public let directory: NodeDirectory

  /// An agent that does nothing before ``StoreAgent/start()``; see ``ClusterAgent/init(_:identity:world:clock:token:)``.
  public init(
    _ settings: AgentSettings, identity: NodeIdentity, world: any World, clock: @escaping () -> Int64,
    token: @escaping (_ client: Int, _ link: Int, _ generation: UInt32) -> UInt64
  ) throws(RedisFault) {
    let base = try AgentFoundation(
      settings, identity: identity, isRouter: true, world: world, clock: clock, token: token)
    directory = NodeDirectory(base.context, base.members)
    super.init(base, [directory])
  }
}

/// Which nodes take requests: those that have the cluster's secret, so that whoever can write to the store cannot draw
/// requests to a place of his own.
///
/// A node is there from the moment it says that it takes requests, until it says otherwise, has given no sign of life for
/// ``Member/life``, or was taken off the store for so long. A store that was emptied so loses nobody: all tell anew within a
/// second.
public final class NodeDirectory: AgentPart {
  /// Nanoseconds between two looks at the members, besides those that news call for.
  private static let interval: Int64 = 1_000_000_000

  /// The nodes that take requests, sorted by id; those that are merely alive where none does.
  public private(set) var nodes: [MemberRecord] = []
  /// Whether the store has said once who there is.
  public private(set) var isSettled = false

  private struct Entry {
    var record: MemberRecord
    /// When the store last knew it, by the boot clock.
    var seenAt: Int64
  }

  private let context: AgentContext
  private let members: Membership
  private var entries: [String: Entry] = [:]
  private var lookAt: Int64 = .max
  /// Who was told of for having no proof.
  private var unproven: Set<String> = []

  init(_ context: AgentContext, _ members: Membership) {
    self.context = context
    self.members = members
    members.listObservers.append { [weak self] _ in self?.take() }
  }

  /// ``nodes`` as a router keeps them over a restart: a record a line.
  public var kept: [UInt8] { Array(nodes.map(\.encoded).joined(separator: [UInt8(ascii: "\n")])) }

  /// Begins with what an earlier life of the router has kept, until the store says more. What has no proof is left out.
  public func begin(with kept: [UInt8]) {
    guard !isSettled else { return }
    nodes = kept.split(separator: UInt8(ascii: "\n")).compactMap { MemberRecord(Array($0)) }.filter { isProven($0) }
  }

  func connected() { lookAt = 0 }

  func disconnected() { lookAt = .max }

  func heard(_ kind: String, _ payload: [UInt8]) {
    if kind == "member" { members.refresh() }
  }

  func advance(_ moment: Int64) -> Int64 {
    if lookAt <= moment {
      lookAt = moment + Self.interval
      members.refresh()
    }
    return lookAt
  }

  /// Takes over what the store says of the members.
  private func take() {
    let now = context.clock()
    isSettled = true
    for member in members.all {
      let id = member.record.identity.id
      guard isProven(member.record) else { continue }
      entries[id] = member.isAlive ? Entry(record: member.record, seenAt: now) : nil
    }
    entries = entries.filter { now - $0.value.seenAt <= Member.life }
    let alive = entries.values.map(\.record).filter { !$0.isDraining }.sorted { $0.identity.id < $1.identity.id }
    let taking = alive.filter(\.isTaking)
    let found = taking.isEmpty ? alive : taking
    // Better a node that may be gone than none: requests find out.
    guard !found.isEmpty, found.map(Place.init) != nodes.map(Place.init) else { return }
    nodes = found
    context.emit(.nodes)
  }

  private func isProven(_ record: MemberRecord) -> Bool {
    let code = Base64.decode(record.proof) ?? []
    if context.secrets.matches(record.place, code: code, for: .place) { return true }
    // The dead of another time, or a handful of liars: a line each.
    if unproven.count < 100, unproven.insert(record.identity.id).inserted {
      context.remark("\(record.identity.name) does not have the cluster's secret; no request goes there")
    }
    return false
  }

  /// What of a record decides where requests go.
  private struct Place: Equatable {
    let id: String
    let host: String
    let reach: [String]
    let reachProxied: [String]

    init(_ record: MemberRecord) {
      (id, host) = (record.identity.id, record.host)
      (reach, reachProxied) = (record.reach, record.reachProxied)
    }
  }
}
