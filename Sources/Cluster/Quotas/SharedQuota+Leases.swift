// Slices of tokens: debited when they are granted, spent from memory, given back when nobody wants them. A token is spent
// only by the loop that it was granted to and only before its end, which is counted from before the question was sent and
// on a clock that also runs while the machine sleeps: a loop that was stopped loses tokens, it never doubles them.

import Core
import Pipeline

extension SharedQuota {
  /// How much demand a slice should cover, in nanoseconds.
  static var slice: Int64 { 100_000_000 }
  /// A slice that lasts longer has so many units at most, and is at most this part of the limit.
  private static var fewUnits: Double { 32 }
  private static var fewParts: Double { 32 }
  /// How much of an end counts: clocks may differ by 500 in a million.
  static func trusted(_ nanoseconds: Int64) -> Int64 { nanoseconds - nanoseconds / 2000 }
  /// Units a second from which on a counter is leased where nothing else is said, and below which it no longer is.
  static var promotion: Double { 20 }
  private static var demotion: Double { 5 }
  /// How often those that hold tokens are looked at, and after how long without a request they give them back.
  private static var review: Int64 { 50_000_000 }
  private static var idle: Int64 { 250_000_000 }

  @inline(__always)
  func hasTokens(_ place: Int, _ cost: Int64, _ moment: Int64) -> Bool {
    counters[place].slice.tokens >= cost && moment < counters[place].slice.end
      || counters[place].nextSlice.tokens >= cost && moment < counters[place].nextSlice.end
  }

  /// Spends a level's cost, which is there.
  @inline(__always)
  func takeTokens(_ place: Int, _ level: inout QuotaLevel, _ moment: Int64) {
    if counters[place].slice.tokens < level.cost || moment >= counters[place].slice.end { turnSlice(place) }
    assert(counters[place].slice.tokens >= level.cost)
    counters[place].slice.tokens &-= level.cost
    counts.spentUnits &+= UInt64(level.cost)
    level.remaining = counters[place].slice.tokens &+ counters[place].nextSlice.tokens &+ counters[place].remaining
    level.resetNanoseconds = max(0, counters[place].restoredAt &- moment)
    considerLease(place, moment)
  }

  /// Goes on with the next slice. What is left of the first is over, or fewer than one request takes: it is given back.
  @inline(never)
  private func turnSlice(_ place: Int) {
    counters[place].slice = surrendered(counters[place].slice, place)
    counters[place].slice = counters[place].nextSlice
    counters[place].nextSlice = TrackedCounter.Slice()
  }

  /// Puts tokens back that were taken for a question that was refused after all, if their slice is still there.
  func putBack(_ key: QuotaKey, _ units: Int64, _ grant: LaneGrant) {
    let place = counters.find(key)
    guard place >= 0, counters[place].slice.grant == grant else { return }
    counters[place].slice.tokens += units
    counts.spentUnits &-= UInt64(units)
  }

  /// Asks for the next slice, if it is worth it and time: in advance, or where it is short by a request that waits.
  @inline(__always)
  func considerLease(_ place: Int, _ moment: Int64, isShort: Bool = false) {
    if counters[place].isAsking || counters[place].nextSlice.tokens > 0 { return }
    // Until an answer has come, a round trip and what a turn may take.
    let lead = counters[place].demand * (primaries[0].clock.trip + 2_000_000) / 1e9
    if Double(counters[place].slice.tokens) <= max(lead, Double(counters[place].cost)) {
      askLease(place, moment, isShort)
    }
  }

  @inline(never)
  private func askLease(_ place: Int, _ moment: Int64, _ isShort: Bool) {
    guard counters[place].plan.isLeasable, counters[place].exactUntil <= moment else { return }
    if isQuiet(place) {
      if isShort { askSoleLease(place, moment) }
    } else if isWorthLeasing(place) {
      ask(place, .lease, max(sliceUnits(place).rounded(.up), Double(counters[place].cost)))
    }
  }

  /// Asks for so many units of a counter.
  func ask(_ place: Int, _ mode: LaneMode, _ wanted: Double) {
    let lane = map.lane(of: counters[place].level.owner)
    guard primaries[primaryOf(lane)].breaker.state == .closed else { return }
    var question = LimitQuestion()
    question.append(counters[place].level)
    counters[place].isOutdated = false
    counters[place].isAsking = append(
      question, .lease, Int32(place), 1, lane: lane, hits: Int64(min(wanted, 1e9)), mode, leased: 1, since: .never)
  }

  /// The units that a slice should have: what is asked for while it lasts. Where little is asked for it lasts longer, so that
  /// the store is not asked for every few of them, as long as hardly any of the limit would be lost with this node.
  private func sliceUnits(_ place: Int) -> Double {
    let longest = counters[place].plan.span * 3 / 5
    let demand = counters[place].demand / 1e9
    let few = min(Self.fewUnits, Double(counters[place].level.rule.limit) / Self.fewParts)
    return max(demand * Double(min(Self.slice, longest)), min(few, demand * Double(longest)))
  }

  /// Whether a counter is asked for by lease: its own traffic decides, unless the limit says so.
  private func isWorthLeasing(_ place: Int) -> Bool {
    if counters[place].level.terms.mode == .leased { return true }
    let demand = counters[place].demand
    if counters[place].isLeasing {
      counters[place].isLeasing = demand >= Self.demotion
    } else {
      counters[place].isLeasing = demand > Self.promotion
    }
    return counters[place].isLeasing
  }

  func leaseAnswered(_ place: Int, _ turn: LaneTurn, _ item: Int) {
    counters[place].isAsking = false
    if counters[place].isOutdated { return counters[place].isOutdated = false }
    let granted = turn.batch.admitted(item)
    var question = LimitQuestion()
    question.append(counters[place].level)
    // How it stands behind the last of them.
    turn.batch.answer(LanePlace(item: item, position: max(0, granted - 1)), &question)
    let reset = question[0].resetNanoseconds
    counters[place].note(
      remaining: question[0].remaining, restoredAt: turn.sentMoment.addingOrClamped(reset), moment: turn.sentMoment)
    let moment = clock()
    if turn.batch.items[item].mode == .soleLease {
      return soleLeaseAnswered(place, turn, granted, reset: reset, moment)
    }
    if granted < turn.batch.items[item].hits && granted <= 2 * counters[place].cost {
      // The last tokens are handed out one by one, so that all of them are used.
      counters[place].exactUntil = moment + min(max(reset, Self.slice), LeasePlan.longestSpan)
    }
    guard granted > 0 else { return }
    counts.leasedUnits &+= UInt64(granted)
    let span: Int64
    switch counters[place].level.rule {
    case .window, .calendar: span = min(reset, counters[place].plan.span)
    case .rate, .sliding, .concurrency: span = counters[place].plan.span
    }
    let end = turn.sentMoment + Self.trusted(span)
    let slice = TrackedCounter.Slice(tokens: granted, end: end, last: end, grant: turn.batch.grant)
    if counters[place].slice.tokens > 0 { counters[place].nextSlice = slice } else { counters[place].slice = slice }
    hold(place, moment)
  }

  // MARK: Giving back

  /// Looks at a counter again and again for as long as it holds tokens.
  private func hold(_ place: Int, _ moment: Int64) {
    guard !counters[place].isListed else { return }
    counters[place].isListed = true
    holders.append(Int32(place))
    holdersAt = min(holdersAt, moment + Self.review)
  }

  /// Gives back what is over or not wanted.
  func reviewHolders(_ moment: Int64) {
    var kept = 0
    for index in holders.indices {
      let place = Int(holders[index])
      if moment - counters[place].lastUsed >= Self.idle { giveBack(place) }
      if counters[place].slice.last <= moment { counters[place].slice = surrendered(counters[place].slice, place) }
      if counters[place].nextSlice.last <= moment {
        counters[place].nextSlice = surrendered(counters[place].nextSlice, place)
      }
      if counters[place].slice.tokens == 0 && counters[place].nextSlice.tokens == 0 && !counters[place].isAsking {
        counters[place].isListed = false
      } else {
        holders[kept] = holders[index]
        kept += 1
      }
    }
    holders.removeSubrange(kept...)
    holdersAt = holders.isEmpty ? .max : moment + Self.review
  }

  /// Gives both slices of a counter back.
  func giveBack(_ place: Int) {
    counters[place].slice = surrendered(counters[place].slice, place)
    counters[place].nextSlice = surrendered(counters[place].nextSlice, place)
  }

  /// Gives the rest of a slice back; returns an empty one. What is over of a rate has come back there by itself.
  func surrendered(_ slice: TrackedCounter.Slice, _ place: Int) -> TrackedCounter.Slice {
    guard slice.tokens > 0 else { return TrackedCounter.Slice() }
    counts.returnedUnits &+= UInt64(slice.tokens)
    if slice.endsPeriod, slice.last <= clock() { return TrackedCounter.Slice() }
    if case .rate = counters[place].level.rule, slice.end <= clock() { return TrackedCounter.Slice() }
    settleUnits(counters[place].level, slice.tokens, .credit(slice.grant))
    return TrackedCounter.Slice()
  }

  // MARK: Recall

  /// Asks all who hold tokens of a counter to give them back: they are wanted here, and the store has none.
  func recall(_ place: Int) {
    let lane = map.lane(of: counters[place].level.owner)
    let key = counters[place].level.key
    let admission = client.send(slot: lanes[lane].slot, tag: Self.tag(.publish, 0), within: settings.deadline) {
      RedisCommand.append(
        [Array("PUBLISH".utf8), Array(Self.channel(of: settings.cluster).utf8), Self.bytes(of: key)], to: $0)
    }
    if admission == .accepted { counts.recalls += 1 }
  }

  private static func bytes(of key: QuotaKey) -> [UInt8] {
    (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? key.low : key.high) >> UInt64($0 % 8 * 8)) }
  }

  /// Somebody wants tokens of the counter that these bytes name. For a while it is asked for one by one here too.
  func recalled(_ bytes: RawSpan) {
    guard bytes.byteCount == 16 else { return }
    var halves: (low: UInt64, high: UInt64) = (0, 0)
    for index in 0..<8 {
      halves.low |= UInt64(bytes.byte(at: index)) << UInt64(index * 8)
      halves.high |= UInt64(bytes.byte(at: index + 8)) << UInt64(index * 8)
    }
    let place = counters.find(QuotaKey(low: halves.low, high: halves.high))
    guard place >= 0, counters[place].heldTokens > 0 else { return }
    counters[place].exactUntil = max(counters[place].exactUntil, clock() + Self.idle)
    giveBack(place)
  }
}
