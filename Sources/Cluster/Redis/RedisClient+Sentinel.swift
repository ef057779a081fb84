// Who is the primary: what sentinels say, and what servers say of themselves.
//
// Sentinels announce a new primary one to two seconds after it has been promoted, too late for us. So while there is no
// primary, every server of the group is asked for its role ten times a second, and a replica that has become a primary is
// believed at once. A server that was the primary before is believed only where a sentinel names it, now: it may have
// come back without its data or without knowing that it was replaced. Sentinels number their decisions (config-epoch);
// one that is older than what we have seen happen changes nothing.

import Core

/// What is known of a group behind sentinels.
struct SentinelView {
  /// The number of the decision that ``primary`` follows from.
  var epoch: Int64 = -1
  /// What sentinels name.
  var primary: AddressText?
  /// Servers that were replicas when a sentinel last told.
  var replicas: [AddressText] = []
  /// Those that have said themselves that they are replicas, and nothing else since.
  var sworn: Set<AddressText> = []
  /// When a sentinel last told the primary.
  var toldAt = Instant(nanoseconds: .min)
  /// The member that is the primary; nil while there is none.
  var current: Int?
  /// The decision by which ``current`` is the primary.
  var currentEpoch: Int64 = -1
  /// Since when there has been none.
  var awaySince = Instant(nanoseconds: .min)
}

extension RedisClient {
  private static let primaryTag: UInt64 = 1
  private static let replicasTag: UInt64 = 2
  /// How long a sentinel may take to answer.
  private static let sentinelTime: Int64 = 500_000_000
  /// Between two questions to the sentinels while there is a primary, and while there is none.
  private static let calmPause: Int64 = 1_000_000_000
  private static let searchPause: Int64 = 100_000_000
  /// Replicas of a group that are remembered.
  private static let mostReplicas = 32

  private var group: RedisSentinels? { if case .sentinel(let group) = store { group } else { nil } }

  /// Whether there may be another primary: there is none, or the present one says nothing.
  private var isSearching: Bool {
    guard let current = sentinels.current.flatMap({ member(numbered: $0) }) else { return true }
    return current.link.isSilent
  }

  func startSentinels(_ group: RedisSentinels) {
    var settings = RedisLinkSettings(clientName: self.settings.clientName)
    settings.needsPrimary = false
    settings.limits = self.settings.limits
    for address in group.addresses {
      add(
        RedisServer(address: address, credentials: group.credentials, encryption: group.encryption), settings,
        .sentinel)
    }
    nextTask = world.now.advanced(byNanoseconds: Self.searchPause)
  }

  /// Asks the sentinels again.
  func pollSentinels() {
    let pause = isSearching ? Self.searchPause : Self.calmPause
    nextTask = world.now.advanced(byNanoseconds: pause)
    for member in members where member.purpose == .sentinel { ask(member) }
    if isSearching { settle() }
  }

  private func ask(_ member: Member) {
    guard let group, member.link.isUp, member.link.pendingCount < 8 else { return }
    _ = member.link.send(tag: Self.primaryTag, within: Self.sentinelTime) {
      RedisCommand.append(["SENTINEL", "MASTER", group.name], to: $0)
    }
    _ = member.link.send(tag: Self.replicasTag, within: Self.sentinelTime) {
      RedisCommand.append(["SENTINEL", "SLAVES", group.name], to: $0)
    }
  }

  func digestSentinel(_ member: Member, _ event: consuming RedisEvent) -> RedisEvent? {
    if member.purpose == .sentinel { return digestAnswer(member, event) }
    let isCurrent = sentinels.current == member.number
    let address = member.link.server.address
    switch consume event {
    case .up:
      settle()
      return nil
    case .down(let fault):
      if fault == .notPrimary { sentinels.sworn.insert(address) } else { sentinels.sworn.remove(address) }
      guard isCurrent else { return nil }
      sentinels.current = nil
      sentinels.awaySince = world.now
      pollSentinels()
      return .down(fault)
    case .lookUp(let host): return .lookUp(host: host)
    // Whatever has a tag was sent while the link was the primary's.
    case .reply(let tag, let reply, let isLate): return .reply(tag: tag, reply, isLate: isLate)
    case .message(let reply): return isCurrent ? .message(reply) : nil
    case .expired(let tag): return .expired(tag: tag)
    case .lost(let tag, let mayHaveRun): return .lost(tag: tag, mayHaveRun: mayHaveRun)
    case .silent:
      guard isCurrent else { return nil }
      pollSentinels()
      return .silent
    case .responsive:
      guard isCurrent else { return nil }
      retireOthers(than: member.number)
      return .responsive
    }
  }

  private func digestAnswer(_ member: Member, _ event: consuming RedisEvent) -> RedisEvent? {
    switch consume event {
    case .up:
      ask(member)
      return nil
    case .lookUp(let host): return .lookUp(host: host)
    case .reply(let tag, let reply, _):
      if tag == Self.primaryTag { notePrimary(reply) } else { noteReplicas(reply) }
      settle()
      return nil
    default: return nil
    }
  }

  private func notePrimary(_ reply: borrowing RedisReply) {
    let value = reply.value
    let told = Self.fields(value)
    guard let address = Self.address(told), let epoch = told["config-epoch"].flatMap({ Int64($0) }),
      epoch >= sentinels.epoch
    else { return }
    sentinels.epoch = epoch
    sentinels.primary = address
    sentinels.toldAt = world.now
  }

  private func noteReplicas(_ reply: borrowing RedisReply) {
    let value = reply.value
    guard value.kind == .array else { return }
    for index in 0..<value.count {
      guard let address = Self.address(Self.fields(value[index])), !sentinels.replicas.contains(address) else {
        continue
      }
      if sentinels.replicas.count == Self.mostReplicas { sentinels.replicas.removeFirst() }
      sentinels.replicas.append(address)
    }
    // Who is the primary now is no replica, even if one sentinel has not heard.
    if let number = sentinels.current, let current = self.member(numbered: number)?.link.server.address {
      sentinels.replicas.removeAll { $0 == current }
    }
  }

  /// Names and values, one behind the other.
  private static func fields(_ value: RedisValue) -> [String: String] {
    var fields: [String: String] = [:]
    var index = 0
    while index + 1 < value.count {
      fields[value[index].text] = value[index + 1].text
      index += 2
    }
    return fields
  }

  private static func address(_ fields: [String: String]) -> AddressText? {
    guard let host = fields["ip"], let port = fields["port"].flatMap({ UInt16($0) }), port > 0 else { return nil }
    return RedisNode(host: host, port: port).address(by: "")
  }

  // MARK: Choosing

  /// Makes sure that everybody who could be the primary is asked, and takes who is.
  private func settle() {
    guard let group else { return }
    let isSearching = isSearching
    if let primary = sentinels.primary, isSearching || sentinels.epoch > sentinels.currentEpoch {
      probe(primary, group)
    }
    if isSearching { for address in sentinels.replicas { probe(address, group) } }
    if let member = members.first(where: { isEligible($0) }) { take(member) }
  }

  private func probe(_ address: AddressText, _ group: RedisSentinels) {
    guard member(at: address) == nil else { return }
    var settings = settings
    settings.needsPrimary = true
    // Asked ten times a second at least; a server that swallows everything is asked twice.
    settings.limits.longestPause = min(settings.limits.longestPause, Self.searchPause)
    settings.limits.connect = min(settings.limits.connect, 5 * Self.searchPause)
    add(group.server.server(at: address), settings, .server)
  }

  /// Whether the member should be the primary and is not yet.
  private func isEligible(_ member: Member) -> Bool {
    guard member.purpose == .server, !member.isRetired, member.link.isUp, member.number != sentinels.current else {
      return false
    }
    let address = member.link.server.address
    if isSearching, sentinels.sworn.contains(address) { return true }
    if sentinels.current != nil { return address == sentinels.primary && sentinels.epoch > sentinels.currentEpoch }
    let hasSentinel = members.contains { $0.purpose == .sentinel && $0.link.isUp }
    return address == sentinels.primary && (!hasSentinel || sentinels.toldAt >= sentinels.awaySince)
  }

  private func take(_ member: Member) {
    let address = member.link.server.address
    // A replica that says so itself has been promoted by a decision that no sentinel has told yet.
    sentinels.currentEpoch = address == sentinels.primary ? sentinels.epoch : sentinels.epoch + 1
    sentinels.epoch = sentinels.currentEpoch
    if sentinels.current != nil { tell(.down(.notPrimary), source: 0) }
    sentinels.primary = address
    sentinels.replicas.removeAll { $0 == address }
    sentinels.current = member.number
    retireOthers(than: member.number)
    nextTask = world.now.advanced(byNanoseconds: Self.calmPause)
    tell(.up(came(member.link.identity, 0)), source: 0)
  }
  private func retireOthers(than number: Int) {
    sentinels.sworn = []
    for index in members.indices where members[index].purpose == .server && members[index].number != number {
      retire(index)
    }
  }
}
