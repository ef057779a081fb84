// A Redis in any of its shapes, as one thing that takes commands: it owns the links, knows which of them is a primary, and
// follows redirections. What a link promises of a command, the client promises too.
//
// The shapes differ in how links come and go. A single server has one link for ever. Behind sentinels there is a link to
// every sentinel, one to the primary, and, while there is none, one to every server of the group: whoever says first
// that he is the primary now is it (`RedisClient+Sentinel`). A cluster has a link to every node that serves slots, and a
// map of them (`RedisClient+Cluster`).

import Core
import Crypto

/// The connections of one loop to a Redis.
public final class RedisClient {
  /// A link and what it is for.
  struct Member {
    enum Purpose { case server, sentinel }
    let number: Int
    let link: RedisLink
    let purpose: Purpose
    /// Stopped: it is let go once it has told what was lost.
    var isRetired = false
  }

  /// Addresses of servers that are remembered: more than any group or cluster that one node can be in.
  static let mostMembers = 1024

  /// What it connects to.
  public let store: RedisStore
  let settings: RedisLinkSettings
  let world: any World
  private let makeToken: (Int, UInt32) -> UInt64
  private let securities: [RedisEncryption: TLSClientContext]

  var members: [Member] = []
  private var nextNumber = 0
  /// Where ``next()`` goes on.
  private var cursor = 0
  private var epochs: UInt64 = 0
  private var identities: [Int: RedisIdentity] = [:]
  private var queued: [(source: Int, notice: RedisLink.Notice)] = []
  /// When ``keepTime()`` has something to do.
  var nextTask = Instant.never

  var sentinels = SentinelView()
  var slots = SlotMap()

  /// The number of the primary that the last event is about: 0 except in a cluster.
  public private(set) var source = 0

  /// Connections to `store` that do nothing before ``start()``. `token` makes event tokens out of a link's number and a
  /// number that is another one for every attempt. Reads the files that encryption needs, and throws
  /// ``RedisFault/encryption(_:)`` where one is of no use.
  public init(
    _ store: RedisStore, _ settings: RedisLinkSettings, world: any World,
    token: @escaping (_ link: Int, _ generation: UInt32) -> UInt64
  ) throws(RedisFault) {
    securities = try Self.securities(of: store)
    self.store = store
    self.settings = settings
    self.world = world
    makeToken = token
  }

  private static func securities(of store: RedisStore) throws(RedisFault) -> [RedisEncryption: TLSClientContext] {
    let encryptions: [RedisEncryption?] =
      switch store {
      case .single(let server): [server.encryption]
      case .sentinel(let group): [group.encryption, group.server.encryption]
      case .cluster(let seeds): [seeds.server.encryption]
      }
    var securities: [RedisEncryption: TLSClientContext] = [:]
    for case let encryption? in encryptions {
      do throws(TLSFault) {
        securities[encryption] = try TLSClientContext(
          authorities: encryption.authorities, certificate: encryption.certificate, key: encryption.key)
      } catch {
        throw .encryption(error.message)
      }
    }
    return securities
  }

  /// Begins to connect. Once.
  public func start() {
    switch store {
    case .single(let server): add(server, settings, .server)
    case .sentinel(let group): startSentinels(group)
    case .cluster(let seeds): startCluster(seeds)
    }
  }

  /// Ends all connections for good. What is under way is lost; ``next()`` still tells.
  public func stop() {
    for index in members.indices { retire(index) }
    nextTask = .never
  }

  /// An event of a socket; false where it is none of this client's.
  public func ready(token: UInt64, _ readiness: Readiness) -> Bool {
    for member in members where member.link.ready(token: token, readiness) { return true }
    return false
  }

  /// Takes a command for the primary of `slot`: see ``RedisLink/send(tag:within:_:)``. Only a cluster looks at the slot.
  public func send(
    slot: Int = 0, tag: UInt64, within nanoseconds: Int64 = RedisLink.decisionTime, _ write: (ByteBuffer) -> Void
  ) -> RedisAdmission {
    guard let link = link(of: slot) else {
      seekSlots()
      return .down
    }
    return link.send(tag: tag, within: nanoseconds, write)
  }

  /// The number of the primary that serves `slot`; nil where it is not known.
  public func primary(of slot: Int) -> Int? {
    switch store {
    case .single, .sentinel: 0
    case .cluster: slots[slot]
    }
  }

  /// Whether the primary takes commands.
  public func isUp(_ primary: Int) -> Bool { link(numbered: primary)?.isUp ?? false }

  /// Whether the primary has let a command's time pass and said nothing since.
  public func isSilent(_ primary: Int) -> Bool { link(numbered: primary)?.isSilent ?? false }

  /// The address by which this end of the connection to the primary is known; nil where there is none.
  public func localAddress(to primary: Int) -> SocketAddress? {
    guard let link = link(numbered: primary), link.isUp else { return nil }
    return world.localAddress(of: link.socket)
  }

  /// What the primary said of itself when it last came up; nil where it never did.
  public func identity(of primary: Int) -> RedisIdentity? { identities[primary] }

  /// The addresses of `host`; nil or none where the look-up failed.
  public func resolved(host: String, _ addresses: [IPAddress]?) {
    for member in members {
      if case .name(host, _) = member.link.server.address { member.link.resolved(addresses) }
    }
  }

  /// Sends what this turn has collected. Returns when ``next()`` must be called again at the latest.
  public func flush() -> Instant {
    var deadline = queued.isEmpty ? nextTask : world.now
    for member in members { deadline = min(deadline, member.link.flush()) }
    return deadline
  }

  /// What happened, in order for each link; nil where that is all for now. To be called until then in every turn.
  public func next() -> RedisEvent? {
    while true {
      if !queued.isEmpty {
        let (source, notice) = queued.removeFirst()
        self.source = source
        return RedisLink.event(notice)
      }
      if cursor < members.count {
        let member = members[cursor]
        if let event = member.link.next() {
          source = publicNumber(member)
          if let told = digest(member, event) { return told }
        } else if member.isRetired {
          members.remove(at: cursor)
        } else {
          cursor += 1
        }
        continue
      }
      cursor = 0
      guard nextTask <= world.now else { return nil }
      keepTime()
    }
  }

  // MARK: Links

  @discardableResult
  func add(_ server: RedisServer, _ settings: RedisLinkSettings, _ purpose: Member.Purpose) -> Member? {
    guard members.count < Self.mostMembers else { return nil }
    let number = nextNumber
    nextNumber += 1
    let makeToken = makeToken
    let security = server.encryption.flatMap { securities[$0] }
    let link = RedisLink(server, settings, world: world, security: security) { makeToken(number, $0) }
    let member = Member(number: number, link: link, purpose: purpose)
    members.append(member)
    link.start()
    return member
  }

  /// Stops a link; ``next()`` lets it go.
  func retire(_ index: Int) {
    guard !members[index].isRetired else { return }
    members[index].isRetired = true
    members[index].link.stop()
  }

  func member(at address: AddressText, _ purpose: Member.Purpose = .server) -> Int? {
    members.firstIndex { !$0.isRetired && $0.purpose == purpose && $0.link.server.address == address }
  }

  func member(numbered number: Int) -> Member? { members.first { $0.number == number && !$0.isRetired } }

  private func link(of slot: Int) -> RedisLink? { primary(of: slot).flatMap { link(numbered: $0) } }

  private func link(numbered primary: Int) -> RedisLink? {
    switch store {
    case .single: members.first?.link
    case .sentinel: sentinels.current.flatMap { member(numbered: $0)?.link }
    case .cluster: member(numbered: primary)?.link
    }
  }

  private func publicNumber(_ member: Member) -> Int {
    if case .cluster = store { member.number } else { 0 }
  }

  // MARK: Events

  /// Acts on what a link says; returns what is the owner's business.
  private func digest(_ member: Member, _ event: consuming RedisEvent) -> RedisEvent? {
    switch store {
    case .single:
      switch consume event {
      case .up(let identity): return .up(came(identity, 0))
      case let other: return other
      }
    case .sentinel: return digestSentinel(member, event)
    case .cluster: return digestCluster(member, event)
    }
  }

  /// A primary is there: its identity, with an epoch that no other has.
  func came(_ identity: RedisIdentity, _ primary: Int) -> RedisIdentity {
    epochs += 1
    var identity = identity
    identity.epoch = epochs
    identities[primary] = identity
    return identity
  }

  func tell(_ notice: RedisLink.Notice, source: Int) { queued.append((source, notice)) }

  private func keepTime() {
    switch store {
    case .single: nextTask = .never
    case .sentinel: pollSentinels()
    case .cluster: pollSlots()
    }
  }
}
