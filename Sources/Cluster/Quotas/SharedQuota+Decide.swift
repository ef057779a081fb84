// What a question meets: leases and denials that this loop remembers, then the store.

import Core
import Pipeline

extension SharedQuota {
  /// See ``Quota/decide(_:ticket:now:civil:)``. What is answered from memory reads a clock once and looks up each level.
  public func decide(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {
    let moment = clock()
    if question.count == 1, takeAtOnce(&question, moment) { return }
    var held: UInt8 = 0
    var isDenied = false
    for index in 0..<question.count {
      let place = counters.place(of: question[index], moment: moment)
      guard place >= 0 else { continue }
      let cost = question[index].cost
      counters[place].want(cost, moment: moment)
      if hasTokens(place, cost, moment) || hasSlot(place, moment) || hasSoleTokens(place, cost, moment) {
        held |= 1 << UInt8(index)
      } else if counters[place].deniedUntil > moment && cost >= counters[place].deniedCost {
        isDenied = true
        question[index].isDenied = true
        question[index].remaining = min(counters[place].remaining, cost &- 1)
        question[index].resetNanoseconds = max(0, counters[place].deniedReset &- moment)
      }
    }
    if isDenied { return denyFromMemory(&question, moment) }
    take(&question, held, moment)
    if held == (1 << UInt8(question.count)) &- 1 {
      question.decision = .admitted
      question.source = .leased
      return
    }
    ask(&question, reserved: held, ticket: ticket, now: now, moment: moment)
  }

  /// The commonest question in one go: a single level of which this loop holds enough tokens. Otherwise nothing happens.
  @inline(__always)
  private func takeAtOnce(_ question: inout LimitQuestion, _ moment: Int64) -> Bool {
    let place = counters.find(question[0].key)
    guard place >= 0, counters[place].isAdopted(question[0]), hasTokens(place, question[0].cost, moment) else {
      return false
    }
    counters[place].want(question[0].cost, moment: moment)
    takeTokens(place, &question[0], moment)
    question.decision = .admitted
    question.source = .leased
    return true
  }

  /// See ``Quota/peek(_:ticket:now:civil:)``. Tokens that nodes hold on lease count as used.
  public func peek(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {
    ask(&question, reserved: 0, ticket: ticket, now: now, moment: clock(), isPeek: true)
  }

  /// See ``Quota/collect(_:ticket:)``.
  public func collect(_ question: inout LimitQuestion, ticket: UInt64) {
    guard collecting >= 0, !isCollected, waiters[collecting].ticket == ticket, question.decision == .waiting else {
      return
    }
    isCollected = true
    copyAnswer(collecting, to: &question)
  }

  /// See ``Quota/release(_:now:)``.
  public func release(_ question: inout LimitQuestion, now: Instant) {
    for index in 0..<question.count where question[index].isHeld {
      question[index].isHeld = false
      freeSlot(question[index].key)
    }
  }

  private func denyFromMemory(_ question: inout LimitQuestion, _ moment: Int64) {
    for index in 0..<question.count where !question[index].isDenied {
      let place = counters.find(question[index].key)
      guard place >= 0, counters[place].isKnown else {
        question[index].remaining = question[index].rule.limit
        continue
      }
      question[index].remaining = counters[place].remaining
      question[index].resetNanoseconds = max(0, counters[place].restoredAt &- moment)
    }
    question.decision = .denied
    question.source = .denyCache
  }

  /// Takes from what this loop holds; all those levels have enough.
  private func take(_ question: inout LimitQuestion, _ levels: UInt8, _ moment: Int64) {
    for index in 0..<question.count where levels >> UInt8(index) & 1 == 1 {
      let place = counters.find(question[index].key)
      if case .concurrency = question[index].rule {
        takeSlot(place, &question[index])
      } else {
        takeTokens(place, &question[index], moment)
      }
    }
  }

  // MARK: The store

  /// Makes a waiter of a question and asks about all levels but the reserved ones; where nobody can be asked, it is decided
  /// at once.
  private func ask(
    _ question: inout LimitQuestion, reserved: UInt8, ticket: UInt64, now: Instant, moment: Int64, isPeek: Bool = false
  ) {
    var waiter = Waiter(ticket: ticket, question: LimitQuestion(), since: now, isPeek: isPeek)
    waiter.reserved = reserved
    for index in 0..<question.count where reserved >> UInt8(index) & 1 == 1 {
      let place = counters.find(question[index].key)
      if place >= 0 { waiter.grants[index] = counters[place].slice.grant }
    }
    for index in 0..<question.count {
      let level = question[index]
      let plan = LeasePlan(level)
      if plan.isLeasable { waiter.leasable |= 1 << UInt8(index) }
      waiter.question.append(
        QuotaLevel(
          key: level.key, rule: plan.rule, cost: level.cost, period: level.period, terms: level.terms,
          owner: level.owner))
      waiter.question[index].remaining = level.remaining
      waiter.question[index].resetNanoseconds = level.resetNanoseconds
      waiter.question[index].isHeld = level.isHeld
    }
    guard let place = waiters.add(waiter) else {
      undoReserved(&question, reserved, waiter.grants)
      question.decision = .unavailable
      question.source = .closed
      return
    }
    askParts(place, moment)
    if waiters[place].pending > 0 {
      question.decision = .waiting
      return
    }
    settle(place, moment)
    question.decision = .waiting
    copyAnswer(place, to: &question)
    waiters.remove(place)
  }

  /// Asks for each lane's levels together, and for slots.
  private func askParts(_ place: Int32, _ moment: Int64) {
    var left = ~waiters[place].reserved & UInt8(truncatingIfNeeded: (1 << waiters[place].question.count) - 1)
    while left != 0 {
      let first = left.trailingZeroBitCount
      let isSlot = isConcurrency(waiters[place].question[first].rule)
      let lane = map.lane(of: waiters[place].question[first].owner)
      var levels: UInt8 = 0
      for index in first..<waiters[place].question.count where left >> UInt8(index) & 1 == 1 {
        guard map.lane(of: waiters[place].question[index].owner) == lane,
          isConcurrency(waiters[place].question[index].rule) == isSlot
        else { continue }
        levels |= 1 << UInt8(index)
      }
      left &= ~levels
      if isSlot {
        askSlots(place, levels, moment)
      } else if append(waiter: place, levels, lane: lane, moment) {
        waiters[place].pending += 1
      } else {
        waiters[place].failed |= levels
      }
    }
  }

  func isConcurrency(_ rule: LimitRule) -> Bool {
    if case .concurrency = rule { true } else { false }
  }

  /// One part of a waiter has its answer; with the last one the whole is decided.
  func partAnswered(_ place: Int32, _ moment: Int64) {
    waiters[place].pending -= 1
    guard waiters[place].pending == 0 else { return }
    settle(place, moment)
    answered.append(place)
  }

  /// Decides a waiter all parts of which are answered: all or none.
  private func settle(_ place: Int32, _ moment: Int64) {
    var decision = LimitDecision.admitted
    var source = LimitSource.exact
    if waiters[place].isStale {
      decision = .stale
    } else if waiters[place].isDenied {
      decision = .denied
    } else if waiters[place].failed != 0 {
      (decision, source) = decideAlone(place, moment)
    }
    if decision != .admitted && !waiters[place].isPeek { undo(place, moment) }
    waiters[place].question.decision = decision
    waiters[place].question.source = source
  }

  /// Gives back all that was taken for a question that is not admitted after all.
  private func undo(_ place: Int32, _ moment: Int64) {
    let (reserved, grants) = (waiters[place].reserved, waiters[place].grants)
    undoReserved(&waiters[place].question, reserved, grants)
    let debited = waiters[place].debited
    for index in 0..<waiters[place].question.count where debited >> UInt8(index) & 1 == 1 {
      waiters[place].question[index].remaining += waiters[place].question[index].cost
      let level = waiters[place].question[index]
      settleUnits(level, level.cost, .credit(grants[index]))
    }
  }

  private func undoReserved(
    _ question: inout LimitQuestion, _ levels: UInt8, _ grants: InlineArray<8, LaneGrant>
  ) {
    for index in 0..<question.count where levels >> UInt8(index) & 1 == 1 {
      if question[index].isHeld {
        question[index].isHeld = false
        freeSlot(question[index].key)
      } else {
        putBack(question[index].key, question[index].cost, grants[index])
      }
    }
  }

  private func copyAnswer(_ place: Int32, to question: inout LimitQuestion) {
    for index in 0..<question.count {
      question[index].remaining = waiters[place].question[index].remaining
      // Who looks wants to know what is used, not what a stricter rule would admit at once.
      if waiters[place].isPeek {
        question[index].remaining += question[index].rule.limit - waiters[place].question[index].rule.limit
      }
      question[index].resetNanoseconds = waiters[place].question[index].resetNanoseconds
      question[index].isDenied = waiters[place].question[index].isDenied
      question[index].isHeld = waiters[place].question[index].isHeld
    }
    question.decision = waiters[place].question.decision
    question.source = waiters[place].question.source
  }
}
