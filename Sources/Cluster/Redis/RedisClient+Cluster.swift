// A Redis Cluster: a link to every node that serves slots, and to the seeds.
//
// The map is asked for when the first node is up, ten seconds after it was last read, and whenever something says that it
// is wrong: a redirection, a node that is gone, a slot without an owner. A command that was redirected has not run, so it
// is sent on from here, with what is left of its time.

import Core

extension RedisClient {
  /// Between two questions while the map is in doubt, and otherwise.
  private static let doubtPause: Int64 = 50_000_000
  private static let calmPause: Int64 = 10_000_000_000
  /// A command that was redirected more often gets its refusal.
  private static let mostRedirections: UInt8 = 5

  private var seeds: RedisSeeds? { if case .cluster(let seeds) = store { seeds } else { nil } }

  func startCluster(_ seeds: RedisSeeds) {
    for address in seeds.addresses { node(at: address) }
  }

  /// The member at `address`, made where there is none.
  @discardableResult
  private func node(at address: AddressText) -> Member? {
    if let index = member(at: address) { return members[index] }
    guard let seeds else { return nil }
    var settings = settings
    // A replica tells the map as well; what it does not serve, it redirects.
    settings.needsPrimary = false
    return add(seeds.server.server(at: address), settings, .server)
  }

  /// The map is in doubt.
  func seekSlots() {
    guard seeds != nil, slots.isFresh else { return }
    slots.isFresh = false
    nextTask = max(world.now, slots.askedAt.advanced(byNanoseconds: Self.doubtPause))
  }

  /// Asks a node that is up, another one each time.
  func pollSlots() {
    nextTask = world.now.advanced(byNanoseconds: slots.isFresh ? Self.calmPause : Self.doubtPause)
    // The seeds hear everything, and there is nothing to ask on a connection that listens.
    guard settings.channels.isEmpty else {
      nextTask = .never
      return
    }
    let candidates = members.filter { $0.link.isUp && !$0.link.isSilent && !$0.isRetired }
    guard !candidates.isEmpty else { return }
    let chosen = candidates[Int(world.random() % UInt64(candidates.count))]
    if chosen.link.askMap() { slots.askedAt = world.now }
  }

  func digestCluster(_ member: Member, _ event: consuming RedisEvent) -> RedisEvent? {
    switch consume event {
    case .up(let identity):
      if !slots.isFresh { nextTask = world.now }
      return .up(came(identity, member.number))
    case .down(let fault):
      seekSlots()
      return .down(fault)
    case .reply(let tag, let reply, let isLate):
      if member.link.answeredCommand?.step == .map {
        readMap(reply, member)
        return nil
      }
      guard let error = reply.error else { return .reply(tag: tag, reply, isLate: isLate) }
      guard !isLate, let node = redirection(error), let command = member.link.answeredCommand,
        command.redirections < Self.mostRedirections
      else { return .reply(tag: tag, reply, isLate: isLate) }
      return redirect(command, member, to: node, error)
    case let other: return other
    }
  }

  /// Where a refusal says that the command belongs.
  private func redirection(_ error: RedisError) -> RedisNode? {
    switch error {
    case .moved(_, let node):
      seekSlots()
      return node
    case .ask(_, let node): return node
    case .clusterDown, .tryAgain, .readOnly:
      seekSlots()
      return nil
    default: return nil
    }
  }

  private func redirect(
    _ command: PendingCommand, _ member: Member, to node: RedisNode, _ error: RedisError
  ) -> RedisEvent? {
    guard let address = node.address(by: member.link.server.host), let target = self.node(at: address) else {
      return .lost(tag: command.tag, mayHaveRun: false)
    }
    var isAsking = false
    switch error {
    case .moved(let slot, _): slots[slot] = target.number
    default: isAsking = true
    }
    let link = member.link
    if target.link !== link, target.link.adopt(command, link.request, isAsking: isAsking) { return nil }
    // A node that redirects to itself, or one that cannot be reached yet: the caller may try again.
    return .lost(tag: command.tag, mayHaveRun: false)
  }

  private func readMap(_ reply: borrowing RedisReply, _ member: Member) {
    let value = reply.value
    guard let ranges = SlotMap.read(value, speaker: member.link.server.host) else { return }
    var map = SlotMap()
    map.askedAt = slots.askedAt
    map.isFresh = true
    for (range, address) in ranges {
      if let owner = node(at: address) { map.assign(range, to: owner.number) }
    }
    slots = map
    nextTask = world.now.advanced(byNanoseconds: Self.calmPause)
    let seeds = seeds?.addresses ?? []
    for index in members.indices
    where !members[index].isRetired && !map.serves(members[index].number)
      && !seeds.contains(members[index].link.server.address)
    {
      retire(index)
    }
  }
}
