// Limits that many nodes keep together, in a Redis.
//
// Each loop of each node takes part on its own: it has its own connection, its own leases and its own memory of what was
// denied, so that no request touches what another thread touches. What is decided from memory (a lease, a denial) costs
// some hundred instructions; everything else is collected during a turn of the loop and asked with one call a lane at its
// end (`+Lanes`), while the exchange waits, for ten milliseconds at most. Beyond, or where there is no store to ask, the
// limit's own rule for that holds (`+Outage`).
//
//   decide   what is known is decided at once, the rest becomes a waiter         (+Decide)
//   lanes    waiters and leases of a lane are sent together and answered         (+Lanes)
//   leases   slices of tokens are asked for, spent, given back, called in        (+Leases)
//            long ones of quiet counters that only this node is asked about      (+SoleLeases)
//   strict   who waits for a replica before anybody is admitted                  (+Strict)
//   slots    the same for requests that run at the same time                     (+Slots)
//   outage   a node's share while the store is away; afterwards it is told       (+Outage)
//   recovery lanes are opened anew after a failover, with all that was seen      (+Recovery)
//   members  how many share                                                      (+Members)

import Core
import Crypto
import Pipeline

/// Decides limits together with all nodes that share a Redis: a loop's own part of it.
///
/// The owner calls ``ready(token:_:)`` for events of its sockets, and in each turn ``work()`` first, then
/// ``nextAnswered()`` until there is none, and ``flush()`` last.
public final class SharedQuota: Quota {
  /// What commands are called by in replies: the kind, and behind it a number and a generation.
  enum Command: UInt64 {
    case turn = 1
    case recover, merge, identity, probe, beat, slots, publish, check, revocations, confirm
  }

  /// A server that decides: one, or in a Redis Cluster several.
  struct Primary {
    let number: Int
    var breaker = StoreBreaker()
    var clock = StoreClock()
    /// How this loop calls itself there; nil before the first connection.
    var caller: LaneCaller?
    /// Its replication id is being read again.
    var isIdentifying = false
    /// Whether it has answered something in time during this turn.
    var isAnswering = false
    /// No replica of it has confirmed anything: until then strict questions are not asked.
    var unconfirmedUntil: Int64 = 0
    /// What it has been asked before limits are counted in it; nil where that is still to be done.
    var inquiry: StoreInquiry?
  }

  /// The key for subjects that clients choose; the same on all nodes of the cluster.
  public let subjectKey: SipKey
  /// Set by the owner: to look this host up and answer with ``resolved(host:_:)``.
  public var onLookUp: (String) -> Void = { _ in }

  /// Set by the owner: what people should know of the store, once for each server that decides. Called for one loop of a
  /// node only.
  public var onRemarks: ([StoreRemark]) -> Void = { _ in }

  let settings: SharedQuotaSettings
  let check: StoreCheck
  let world: any World
  let node: NodeQuota
  /// The boot clock, in nanoseconds, read anew at every call: a process that was stopped must notice.
  let clock: () -> Int64
  let map: LaneMap
  let client: RedisClient
  /// Hears what loops publish for each other.
  let listener: RedisClient
  /// What this loop is called among all that take part: new in each life; see ``NodeQuota/takeName(random:)``.
  let participant: UInt64

  var primaries: ContiguousArray<Primary> = []
  var lanes: ContiguousArray<Lane> = []
  /// Lanes with turns that are not sent yet.
  var listedLanes: ContiguousArray<Int32> = []
  var turns: ContiguousArray<LaneTurn> = []
  var freeTurns: ContiguousArray<Int32> = []
  var counters = CounterTable()
  var waiters = Waiters()
  /// Waiters that know their answer, and the one that was handed out last.
  var answered: ContiguousArray<Int32> = []
  var nextAnswer = 0
  var collecting: Int32 = -1
  var isCollected = false
  /// Counters that hold tokens, and when they are looked at again.
  var holders: ContiguousArray<Int32> = []
  var holdersAt: Int64 = .max
  /// Counters that hold tokens of a sole lease, the next one to look at, and when.
  var soleHolders: ContiguousArray<Int32> = []
  var nextSoleHolder = 0
  var soleHoldersAt: Int64 = .max
  /// Counters that the store must be told of.
  var owing: ContiguousArray<Int32> = []
  /// Levels that were sent and admitted here when the connection was lost.
  var doubts: ContiguousArray<QuotaLevel> = []
  /// When lanes that wait for their gate are looked at again.
  var gatesAt: Int64 = .max
  /// When lanes that could not be opened are tried again.
  var reopenAt: Int64 = .max
  /// For each lane who waits for slots; a call for them under way; and when all are renewed.
  var slotQueues: ContiguousArray<SlotQueue> = []
  var slotHolders: ContiguousArray<Int32> = []
  var renewAt: Int64 = .max
  var slotsAreDue = false
  /// Where the node's loops have chosen this one: its beats as a member, the slot of their hash, when the next is due.
  var beats: MemberBeat?
  let memberSlot: Int
  var beatAt: Int64 = .max
  var beatNumber: UInt32 = 0
  /// When ``flush()`` last asked to be called again, by the loop's clock.
  var expected = Instant.never
  var counts = SharedQuotaStatistics()
  /// What routes want to know of revocations, and where that lies in the store.
  var questions = RevocationQuestions()
  let factPrefix: String
  let factSlot: Int

  /// A loop's part. `node` is shared by the loops of a node; `clock` reads the boot clock (CLOCK_BOOTTIME) in nanoseconds;
  /// `token` makes event tokens out of a link's number and a number that is another one for every attempt. Throws
  /// ``RedisFault/encryption(_:)`` where a file is of no use.
  public init(
    _ settings: SharedQuotaSettings, world: any World, node: NodeQuota, clock: @escaping () -> Int64,
    token: @escaping (_ client: Int, _ link: Int, _ generation: UInt32) -> UInt64
  ) throws(RedisFault) {
    guard let map = LaneMap(cluster: settings.cluster, laneCount: settings.laneCount, secret: settings.keys.fields)
    else { preconditionFailure("lanes are a power of two up to \(LaneMap.maximumLaneCount)") }
    self.settings = settings
    self.world = world
    self.node = node
    self.clock = clock
    self.map = map
    subjectKey = settings.keys.subjects
    check = StoreCheck(cluster: settings.cluster, user: settings.store.user)
    participant = node.takeName(random: world.random())
    factPrefix = AgentStore.prefix(of: settings.cluster)
    factSlot = HashSlot.of(factPrefix)
    client = try RedisClient(
      settings.store, RedisLinkSettings(clientName: settings.clientName, library: settings.laneLibrary.redis),
      world: world
    ) { token(0, $0, $1) }
    let members = MemberBeat(
      cluster: settings.cluster, node: participant, participants: node.loops, name: settings.clientName)
    memberSlot = HashSlot.of(RawSpan(members.key))
    if node.claimBeats() { beats = members }
    var listening = RedisLinkSettings(clientName: settings.clientName)
    listening.channels = [Self.channel(of: settings.cluster)]
    listening.needsPrimary = false
    listener = try RedisClient(settings.store, listening, world: world) { token(1, $0, $1) }
    for lane in 0..<map.laneCount {
      lanes.append(Lane(slot: HashSlot.of(RawSpan(map.prefix(of: lane)))))
      slotQueues.append(SlotQueue())
    }
  }

  /// Begins to connect. Once.
  public func start() {
    client.start()
    listener.start()
  }

  /// Where loops tell each other of a lane.
  static func channel(of cluster: String) -> String { "sluice:\(cluster):lanes" }

  /// Gives back what is held, and tells the store what it does not know, with the next ``flush()``.
  public func stop() {
    for place in holders { giveBack(Int(place)) }
    for place in soleHolders { giveBack(Int(place)) }
    giveSlotsBack()
    sendBeat(clock(), isLeaving: true)
  }

  /// An event of a socket; false where it is none of this quota's.
  public func ready(token: UInt64, _ readiness: Readiness) -> Bool {
    client.ready(token: token, readiness) || listener.ready(token: token, readiness)
  }

  /// The addresses of a host that was to be looked up; nil or none where that failed.
  public func resolved(host: String, _ addresses: [IPAddress]?) {
    client.resolved(host: host, addresses)
    listener.resolved(host: host, addresses)
  }

  /// Takes in what Redis has said, and what has become due. First thing in each turn.
  public func work() {
    while let event = client.next() { digest(event) }
    while let event = listener.next() { hear(event) }
    let moment = clock()
    excuseQueued()
    expireQueued()
    probe(moment)
    if holdersAt <= moment { reviewHolders(moment) }
    if soleHoldersAt <= moment { reviewSoleHolders(moment) }
    if reopenAt <= moment { reopenLanes(moment) }
    if gatesAt <= moment { lookAtGates(moment) }
    if renewAt <= moment { renewSlots(moment) }
    beatIfDue(moment)
  }

  /// The ticket of a question that has been answered: ``collect(_:ticket:)`` tells how. Nil where that is all.
  public func nextAnswered() -> UInt64? {
    if collecting >= 0 {
      // Whoever asked is gone.
      if !isCollected { release(&waiters[collecting].question, now: world.now) }
      waiters.remove(collecting)
      collecting = -1
    }
    guard nextAnswer < answered.count else {
      answered.removeAll(keepingCapacity: true)
      nextAnswer = 0
      return nil
    }
    collecting = answered[nextAnswer]
    nextAnswer += 1
    isCollected = false
    return waiters[collecting].ticket
  }

  /// Sends what this turn has collected. Last thing in each turn; returns when to be called again at the latest.
  public func flush() -> Instant {
    expected = send(clock())
    return expected
  }

  private func send(_ moment: Int64) -> Instant {
    // As long as nobody listens, debts are not looked at: there may be one for each counter.
    if !owing.isEmpty, primaries.contains(where: { $0.breaker.state == .closed }) { settleDebts() }
    sendSlots(moment)
    let queued = sendQueued(moment)
    let deadline = min(client.flush(), listener.flush())
    if nextAnswer < answered.count || questions.hasNews { return world.now }
    var next = min(min(min(holdersAt, soleHoldersAt), beatAt), min(reopenAt, min(renewAt, gatesAt)))
    for primary in primaries { next = min(next, primary.breaker.deadline) }
    let timed = next == .max ? Instant.never : world.now.advanced(byNanoseconds: max(0, next - moment))
    // Slots that wait for their lane to open: looked at again as soon as it may have.
    let slots = slotsAreDue ? world.now.advanced(byNanoseconds: 2_000_000) : .never
    return min(min(deadline, slots), min(queued, timed))
  }

  /// See ``Quota/civilTime(now:wall:)``: the store's time, as far as it is known.
  public func civilTime(now: Instant, wall: WallTime) -> WallTime {
    primaries.isEmpty ? wall : primaries[0].clock.time(now: now, wall: wall)
  }

  /// What this loop's part has done, and how it stands.
  public var statistics: SharedQuotaStatistics {
    var result = counts
    for primary in primaries {
      result.openings += UInt64(primary.breaker.openings)
      if primary.breaker.state == .open { result.openBreakers += 1 }
    }
    for place in holders { result.heldUnits += UInt64(counters[Int(place)].heldTokens) }
    for place in soleHolders where !counters[Int(place)].isListed {
      result.heldUnits += UInt64(counters[Int(place)].heldTokens)
    }
    return result
  }

  // MARK: Events

  private func digest(_ event: consuming RedisEvent) {
    switch consume event {
    case .up(let identity): primaryCameUp(identity)
    case .reply(let tag, let reply, let isLate): if !isLate { replied(tag, reply) }
    case .expired(let tag): failed(tag, mayHaveRun: true, isMiss: true)
    case .lost(let tag, let mayHaveRun): failed(tag, mayHaveRun: mayHaveRun, isMiss: false)
    case .message: break
    case .silent: break
    case .responsive:
      let index = primaryIndex(client.source)
      primaries[index].breaker.heard(clock())
    case .down: primaryWentDown()
    case .lookUp(let host): onLookUp(host)
    }
  }

  /// What another loop published: the counter of which it wants tokens.
  private func hear(_ event: consuming RedisEvent) {
    switch consume event {
    case .message(let reply): if reply.value.count == 3 { recalled(reply.value[2].bytes) }
    case .lookUp(let host): onLookUp(host)
    default: break
    }
  }

  private func replied(_ tag: UInt64, _ reply: borrowing RedisReply) {
    let number = Int(UInt32(truncatingIfNeeded: tag))
    switch Command(rawValue: tag >> 56) {
    case .turn:
      guard let turn = turn(tag) else { return }
      primaries[turn.primary].isAnswering = true
      turnAnswered(turn, number, reply)
    case .recover: laneOpened(number, reply)
    case .merge: laneMerged(number, reply)
    case .identity: identityAnswered(number, reply)
    case .probe: probeAnswered(number, isGood: reply.error == nil)
    case .slots: slotsAnswered(number, reply)
    case .beat: beatAnswered(tag, reply)
    case .check: checkAnswered(tag, StoreReply(reply.value))
    case .revocations: revocationsAnswered(number, AgentReply(reply.value))
    case .confirm: if let turn = turn(tag) { turnConfirmed(turn, number, replicas: reply.value.integer ?? 0) }
    case .publish, nil: return
    }
  }

  /// A command has not been answered, and will not be.
  private func failed(_ tag: UInt64, mayHaveRun: Bool, isMiss: Bool) {
    let number = Int(UInt32(truncatingIfNeeded: tag))
    switch Command(rawValue: tag >> 56) {
    case .turn:
      guard let turn = turn(tag) else { return }
      turnFailed(turn, number, mayHaveRun: mayHaveRun, isMiss: isMiss)
    case .recover, .merge: laneFailed(number)
    case .identity:
      primaries[number].isIdentifying = false
      reopenAt = min(reopenAt, clock() + Self.openPause)
    case .probe: probeAnswered(number, isGood: false)
    case .slots: slotsFailed(number)
    case .check: checkAnswered(tag, .other)
    case .revocations: revocationsAnswered(number, nil)
    case .confirm: if let turn = turn(tag) { turnConfirmed(turn, number, replicas: 0) }
    case .beat, .publish, nil: return
    }
  }

  static func tag(_ command: Command, _ number: Int, generation: UInt32 = 0) -> UInt64 {
    command.rawValue << 56 | UInt64(generation & 0xff_ffff) << 32 | UInt64(UInt32(truncatingIfNeeded: number))
  }

  /// The turn that a tag names; nil where it has been used for something else since.
  private func turn(_ tag: UInt64) -> LaneTurn? {
    let turn = turns[Int(UInt32(truncatingIfNeeded: tag))]
    return turn.generation & 0xff_ffff == UInt32(truncatingIfNeeded: tag >> 32) & 0xff_ffff ? turn : nil
  }
}
