// While the store cannot be asked, the limit says what holds: each node's share of it, everything, or nothing. Slices that
// are held already are spent first in any case. What was admitted meanwhile is told to the store as soon as it is back, so
// that a quota of a month is right at its end.

import Core
import Pipeline

extension SharedQuota {
  /// Decides those levels of a waiter about which the store said nothing; all others admit.
  func decideAlone(_ place: Int32, _ moment: Int64) -> (LimitDecision, LimitSource) {
    let failed = waiters[place].failed
    guard !waiters[place].isPeek else { return (.unavailable, .closed) }
    var source = LimitSource.open
    var own: UInt8 = 0
    for index in 0..<waiters[place].question.count where failed >> UInt8(index) & 1 == 1 {
      switch waiters[place].question[index].terms.outage {
      case .closed: return (.unavailable, .closed)
      case .open: break
      case .local:
        own |= 1 << UInt8(index)
        source = .local
      }
    }
    if own != 0, let refusal = takeShares(place, own, moment) { return (refusal, .local) }
    let owed = failed & ~waiters[place].assumed
    for index in 0..<waiters[place].question.count where owed >> UInt8(index) & 1 == 1 {
      owe(waiters[place].question[index], moment)
    }
    let doubtful = failed & waiters[place].doubtful
    for index in 0..<waiters[place].question.count where doubtful >> UInt8(index) & 1 == 1 {
      if doubts.count < Waiters.capacity { doubts.append(waiters[place].question[index]) }
    }
    return (.admitted, source)
  }

  /// Takes these levels of a waiter from the node's share of their limits, all or none. Returns what refuses.
  private func takeShares(_ place: Int32, _ levels: UInt8, _ moment: Int64) -> LimitDecision? {
    guard let standing = node.standing, standing.isListed, !node.wasStopped(at: moment) else { return .unavailable }
    let time = DecisionTime(
      now: world.now.nanoseconds, civil: civilTime(now: world.now, wall: world.wallTime).microseconds)
    var shares = LimitQuestion()
    for index in 0..<waiters[place].question.count where levels >> UInt8(index) & 1 == 1 {
      let level = waiters[place].question[index]
      let share = Self.share(of: level, standing)
      begin(share, of: level, standing, time, moment)
      shares.append(share)
    }
    node.shares.decide(&shares, time)
    var position = 0
    for index in 0..<waiters[place].question.count where levels >> UInt8(index) & 1 == 1 {
      waiters[place].question[index].remaining = shares[position].remaining
      waiters[place].question[index].resetNanoseconds = shares[position].resetNanoseconds
      waiters[place].question[index].isDenied = shares[position].isDenied
      if shares[position].isHeld { takeSlotAlone(&waiters[place].question[index]) }
      position += 1
    }
    return shares.decision == .admitted ? nil : shares.decision
  }

  /// A level of this node's own: the sum over all nodes is the level.
  private static func share(of level: QuotaLevel, _ standing: MemberStanding) -> QuotaLevel {
    let rule: LimitRule =
      switch level.rule {
      case .rate(let interval, let burst):
        .rate(
          intervalNanoseconds: interval.multipliedOrClamped(by: Int64(standing.count)), burst: standing.share(of: burst)
        )
      case .window(let limit, let length): .window(limit: standing.share(of: limit), lengthMicroseconds: length)
      case .sliding(let limit, let length): .sliding(limit: standing.share(of: limit), lengthMicroseconds: length)
      case .calendar(let limit): .calendar(limit: standing.share(of: limit))
      case .concurrency(let limit): .concurrency(limit: standing.share(of: limit))
      }
    return QuotaLevel(
      key: level.key, rule: rule, cost: level.cost, period: level.period, terms: level.terms, owner: level.owner)
  }

  /// At the first question behind the store's last word: what was used by then counts, the node's part of it.
  private func begin(
    _ share: QuotaLevel, of level: QuotaLevel, _ standing: MemberStanding, _ time: DecisionTime, _ moment: Int64
  ) {
    let place = counters.find(level.key)
    guard place >= 0, counters[place].isKnown, !counters[place].isShareBegun else { return }
    counters[place].isShareBegun = true
    let used: Int64
    switch level.rule {
    case .rate(let interval, _):
      guard counters[place].restoredAt > moment else { return }
      used = min(
        max(0, level.rule.limit - counters[place].remaining),
        (counters[place].restoredAt - moment + interval - 1) / interval)
    case .window, .sliding, .calendar:
      let breaker = primaries[primaryOf(map.lane(of: level.owner))].breaker
      used = counters[place].probablyUsed(by: breaker.state == .open ? min(moment, breaker.opened) : moment)
    case .concurrency: return
    }
    node.shares.raise(share, to: (used + Int64(standing.count) - 1) / Int64(standing.count), time)
  }

  // MARK: Debts

  /// There is a connection again: to the same server, which has counted what it was sent, or to another one, which perhaps
  /// has never heard of it. To tell it twice is better than not at all.
  func resolveDoubts(ofPrimary index: Int, isSameServer: Bool) {
    let moment = clock()
    doubts.removeAll { level in
      guard primaryOf(map.lane(of: level.owner)) == index else { return false }
      if !isSameServer { owe(level, moment) }
      return true
    }
  }

  private func owe(_ level: QuotaLevel, _ moment: Int64) {
    let place = counters.find(level.key)
    guard place >= 0, !isConcurrency(level.rule) else { return }
    let civil = civilTime(now: world.now, wall: world.wallTime).microseconds
    let matters: Int64 =
      switch level.rule {
      case .rate(let interval, let burst): burst.multipliedOrClamped(by: interval)
      case .window(let limit, let length):
        FixedWindow(limit: limit, length: length).counter(at: civil).restoration(civil: civil)
      case .sliding(_, let length): length.multipliedOrClamped(by: 1000)
      case .calendar: max(0, level.period.end.microseconds - civil).multipliedOrClamped(by: 1000)
      case .concurrency: 0
      }
    if counters[place].owed == 0 {
      owing.append(Int32(place))
    } else if counters[place].owedUntil <= moment {
      counters[place].owed = 0
    }
    counters[place].owed += level.cost
    counters[place].owedUntil = moment.addingOrClamped(matters)
  }

  /// Tells the store what was admitted without it, as far as that still matters.
  func settleDebts() {
    let moment = clock()
    var kept = 0
    for index in owing.indices {
      let place = Int(owing[index])
      if counters[place].owedUntil <= moment { counters[place].owed = 0 }
      let lane = map.lane(of: counters[place].level.owner)
      if counters[place].owed == 0
        || primaries[primaryOf(lane)].breaker.state == .closed
          && settleUnits(counters[place].level, counters[place].owed, .debt)
      {
        counters[place].owed = 0
      } else {
        owing[kept] = owing[index]
        kept += 1
      }
    }
    owing.removeSubrange(kept...)
  }

  // MARK: Settlements

  /// Gives back or charges units of a counter; false where there is no room for that now.
  @discardableResult
  func settleUnits(_ level: QuotaLevel, _ units: Int64, _ mode: LaneMode) -> Bool {
    let place = counters.find(level.key)
    let isLeasable = place >= 0 ? counters[place].plan.isLeasable : LeasePlan(level).isLeasable
    var question = LimitQuestion()
    question.append(
      QuotaLevel(
        key: level.key, rule: level.rule, cost: 1, period: level.period, terms: level.terms, owner: level.owner))
    return append(
      question, .settlement, 0, 1, lane: map.lane(of: level.owner), hits: min(units, Int64(UInt32.max)), mode,
      leased: isLeasable ? 1 : 0, since: .never)
  }

  /// A settlement was not heard, and can be made again.
  func settleAgain(_ settlement: LaneTurn.Settlement, _ civil: WallTime) {
    if !settlement.level.isOver(at: civil) { settleUnits(settlement.level, settlement.units, settlement.mode) }
  }

  /// A settlement cannot be made now. What was owed is owed still; what was to be given back is lost.
  func oweAgain(_ settlement: LaneTurn.Settlement) {
    let place = counters.find(settlement.level.key)
    guard settlement.mode == .debt, place >= 0 else { return }
    if counters[place].owed == 0 { owing.append(Int32(place)) }
    counters[place].owed += settlement.units
  }
}
