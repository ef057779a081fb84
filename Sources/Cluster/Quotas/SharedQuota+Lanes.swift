// Batches: one being filled for each lane, at most two under way. The next one leaves when the turn ends and nothing is
// under way, otherwise when an answer comes: so batches grow by themselves as the store slows down, and cost it less.

import Core
import Pipeline

extension SharedQuota {
  /// Adds some levels of a waiter's question to the next batch of their lane; false where there is no room or no store.
  func append(waiter place: Int32, _ levels: UInt8, lane: Int, _ moment: Int64) -> Bool {
    guard primaries[primaryOf(lane)].breaker.state == .closed else { return false }
    if waiters[place].isPeek {
      return append(
        waiters[place].question, .waiter, place, levels, lane: lane, hits: 0, .plain, leased: waiters[place].leasable,
        since: waiters[place].since)
    }
    let isStrict = isStrict(place, levels)
    if isStrict, primaries[primaryOf(lane)].unconfirmedUntil > moment { return false }
    let leased = levels & waiters[place].leasable
    let isAsked = append(
      waiters[place].question, .waiter, place, levels, lane: lane, hits: 1, .plain, leased: leased,
      since: waiters[place].since)
    if isAsked, isStrict, let last = lanes[lane].queue.last { turns[Int(last)].isStrict = true }
    // Behind it, so that what is noted last is how it stands behind both.
    for index in 0..<waiters[place].question.count where isAsked && leased >> UInt8(index) & 1 == 1 {
      let counter = counters.find(waiters[place].question[index].key)
      if counter >= 0 { considerLease(counter, moment, isShort: true) }
    }
    return isAsked
  }

  /// Adds an item to the next batch of a lane; false where too many wait already.
  func append(
    _ question: borrowing LimitQuestion, _ purpose: LaneTurn.Entry.Purpose, _ index: Int32, _ levels: UInt8, lane: Int,
    hits: Int64, _ mode: LaneMode, leased: UInt8, since: Instant
  ) -> Bool {
    // Twice: a batch that has just begun takes everything.
    for _ in 0..<2 {
      let number: Int32
      if let last = lanes[lane].queue.last {
        number = last
      } else {
        number = beginTurn(lane)
      }
      let turn = turns[Int(number)]
      if let place = turn.batch.append(question, levels: levels, hits: hits, mode: mode, leased: leased) {
        var index = index
        if purpose == .settlement {
          index = Int32(turn.settlements.count)
          turn.settlements.append(LaneTurn.Settlement(level: question[0], units: hits, mode: mode))
        }
        turn.entries.append(LaneTurn.Entry(purpose: purpose, index: index, levels: levels, place: place))
        if purpose == .waiter { turn.oldest = min(turn.oldest, since) }
        return true
      }
      guard lanes[lane].queue.count < Lane.longestQueue else { return false }
      _ = beginTurn(lane)
    }
    return false
  }

  private func beginTurn(_ lane: Int) -> Int32 {
    let number: Int32
    if let free = freeTurns.popLast() {
      number = free
    } else {
      number = Int32(turns.count)
      turns.append(LaneTurn(map: map))
    }
    turns[Int(number)].begin(lane: lane)
    lanes[lane].queue.append(number)
    if !lanes[lane].isListed {
      lanes[lane].isListed = true
      listedLanes.append(Int32(lane))
    }
    return number
  }

  func endTurn(_ number: Int) {
    turns[number].generation &+= 1
    freeTurns.append(Int32(number))
  }

  // MARK: Sending

  /// Sends what may be sent of all lanes. Returns when the next of the others has waited long enough.
  func sendQueued(_ moment: Int64) -> Instant {
    var next = Instant.never
    var kept = 0
    for index in listedLanes.indices {
      let lane = Int(listedLanes[index])
      sendQueued(lane, moment)
      guard let first = lanes[lane].queue.first else {
        lanes[lane].isListed = false
        continue
      }
      listedLanes[kept] = Int32(lane)
      kept += 1
      next = min(next, expiry(of: turns[Int(first)]))
      if lanes[lane].pausedUntil > moment {
        next = min(next, world.now.advanced(byNanoseconds: lanes[lane].pausedUntil - moment))
      }
    }
    listedLanes.removeSubrange(kept...)
    return next
  }

  private func expiry(of turn: LaneTurn) -> Instant {
    turn.oldest.advanced(byNanoseconds: settings.deadline)
  }

  private func sendQueued(_ lane: Int, _ moment: Int64) {
    let primary = primaryOf(lane)
    // In a Redis Cluster it may become known only after its server came up which lanes lie there.
    if lanes[lane].state == .closed { reopenAt = min(reopenAt, moment + Self.openPause) }
    guard lanes[lane].state == .open, lanes[lane].pausedUntil <= moment, let caller = primaries[primary].caller else {
      return
    }
    while let first = lanes[lane].queue.first, lanes[lane].underWay < Lane.mostUnderWay,
      lanes[lane].underWay == 0 || lanes[lane].queue.count > 1
    {
      lanes[lane].queue.removeFirst()
      send(Int(first), lane, primary, caller, moment)
    }
  }

  private func send(_ number: Int, _ lane: Int, _ primary: Int, _ caller: LaneCaller, _ moment: Int64) {
    let turn = turns[number]
    turn.sent = world.now
    turn.sentMoment = moment
    turn.primary = primary
    let age = turn.oldest == .never ? 0 : world.now.nanoseconds(since: turn.oldest)
    let guess = primaries[primary].clock.guess(now: world.now, wall: world.wallTime)
    let admission = client.send(
      slot: lanes[lane].slot, tag: Self.tag(.turn, number, generation: turn.generation),
      within: max(1_000_000, settings.deadline - age)
    ) { turn.batch.encode(for: caller, clock: guess, into: $0) }
    guard admission == .accepted else { return fail(number, mayHaveRun: false) }
    if turn.isStrict { askReplica(turn, number) }
    lanes[lane].underWay += 1
    counts.calls += 1
    counts.items += UInt64(turn.batch.count)
  }

  /// Where this loop itself came back later than it had asked to, since the process was stopped or had no processor, while
  /// the store answers: that time does not count. A node must not believe in an outage that only it has had; its own share would come on
  /// top of what all others rightly take from the store.
  func excuseQueued() {
    let absence = expected == .never ? 0 : world.now.nanoseconds(since: expected)
    for lane in listedLanes where absence > settings.deadline / 2 && primaries[primaryOf(Int(lane))].isAnswering {
      for number in lanes[Int(lane)].queue {
        turns[Int(number)].oldest = min(world.now, turns[Int(number)].oldest.advanced(byNanoseconds: absence))
      }
    }
    for index in primaries.indices { primaries[index].isAnswering = false }
  }

  /// Gives up turns that could not be sent in time: their lane is gated, or being opened, or Redis is slow.
  func expireQueued() {
    for lane in listedLanes {
      while let first = lanes[Int(lane)].queue.first, expiry(of: turns[Int(first)]) <= world.now {
        lanes[Int(lane)].queue.removeFirst()
        fail(Int(first), mayHaveRun: false)
      }
    }
    failSlotWaits { lane in
      guard let wait = self.slotQueues[lane].waits.first else { return false }
      return self.waiters[wait.waiter].since.advanced(byNanoseconds: self.settings.deadline) <= self.world.now
    }
  }

  /// Gives up everything that is not sent: nobody waits any more.
  func failQueued(ofPrimary primary: Int) {
    failSlotWaits { self.primaryOf($0) == primary }
    for lane in listedLanes where primaryOf(Int(lane)) == primary { failQueued(Int(lane)) }
  }

  private func failQueued(_ lane: Int) {
    let queue = lanes[lane].queue
    lanes[lane].queue.removeAll()
    for number in queue { fail(Int(number), mayHaveRun: false) }
  }

  /// Behind a gate a lane is told first what was admitted without it, by everybody: whoever asked for more at once would
  /// get what others have used already.
  func sendDebtsFirst(_ lane: Int) {
    let moment = clock()
    failQueued(lane)
    settleDebts()
    sendQueued(lane, moment)
    lanes[lane].state = .settling
    lanes[lane].pausedUntil = max(lanes[lane].pausedUntil, moment + Self.debtPause)
    gatesAt = min(gatesAt, lanes[lane].pausedUntil)
  }

  /// How long others may take to see that a gate is open, and to tell their debts, in nanoseconds.
  private static var debtPause: Int64 { 3 * gatePoll }
  /// How often that is looked at.
  static var gatePoll: Int64 { 2_000_000 }

  // MARK: Answers

  func turnAnswered(_ turn: LaneTurn, _ number: Int, _ reply: borrowing RedisReply) {
    let lane = turn.batch.lane
    lanes[lane].underWay -= 1
    let moment = clock()
    guard reply.error == nil else {
      noteMiss(turn.primary, moment)
      return fail(number, mayHaveRun: !(reply.error?.hasSurelyNotRun ?? false))
    }
    primaries[turn.primary].breaker.answered(moment)
    switch turn.batch.read(reply.value.bytes) {
    case .answered:
      lanes[lane].latest = max(lanes[lane].latest, turn.batch.moment)
      (lanes[lane].epoch, lanes[lane].confirmedAt) = (turn.batch.epoch, turn.sentMoment)
      primaries[turn.primary].clock.note(turn.batch.moment, sent: turn.sent, received: world.now)
      lanes[lane].marks.note(turn.batch, moment: moment)
      for entry in turn.entries where !mustBeConfirmed(entry, turn) { answer(entry, turn, moment) }
      if turn.unconfirmed.isEmpty { endTurn(number) }
    case .recover:
      lanes[lane].state = .closed
      identify(turn.primary)
      requeue(turn, number, moment)
    case .regenerate(let now):
      primaries[turn.primary].clock.set(now.microseconds, received: world.now)
      requeue(turn, number, moment)
    case .gated:
      lanes[lane].pausedUntil = moment + Self.gatePause
      requeue(turn, number, moment)
    case .malformed: fail(number, mayHaveRun: true)
    }
  }

  /// How long a gated lane is left alone, in nanoseconds.
  private static var gatePause: Int64 { 2_000_000 }

  func turnFailed(_ turn: LaneTurn, _ number: Int, mayHaveRun: Bool, isMiss: Bool) {
    lanes[turn.batch.lane].underWay -= 1
    if isMiss { noteMiss(turn.primary, clock()) }
    fail(number, mayHaveRun: mayHaveRun, isLost: !isMiss)
  }

  func answer(_ entry: LaneTurn.Entry, _ turn: LaneTurn, _ moment: Int64) {
    switch entry.purpose {
    case .waiter:
      turn.batch.answer(entry.place, &waiters[entry.index].question)
      if waiters[entry.index].isPeek {
        noteLook(entry)
      } else {
        noteAnswer(entry, turn, moment)
      }
      partAnswered(entry.index, moment)
    case .lease: leaseAnswered(Int(entry.index), turn, entry.place.item)
    case .settlement: break
    }
  }

  /// Notes how one part of a question would be decided: nothing was asked for, so that nothing was refused.
  private func noteLook(_ entry: LaneTurn.Entry) {
    for index in 0..<waiters[entry.index].question.count where entry.levels >> UInt8(index) & 1 == 1 {
      let level = waiters[entry.index].question[index]
      waiters[entry.index].question[index].isDenied = level.remaining < level.cost
      if level.remaining < level.cost { waiters[entry.index].isDenied = true }
    }
  }

  /// Notes how the store decided one part of a question.
  private func noteAnswer(_ entry: LaneTurn.Entry, _ turn: LaneTurn, _ moment: Int64) {
    let waiter = entry.index
    let isDenied = waiters[waiter].question.decision == .denied
    if isDenied {
      waiters[waiter].isDenied = true
    } else {
      waiters[waiter].debited |= entry.levels
    }
    let isHeld = isDenied && turn.batch.isHeldElsewhere(entry.place.item)
    let mayReturn = waiters[waiter].debited | entry.levels != entry.levels
    for index in 0..<waiters[waiter].question.count where entry.levels >> UInt8(index) & 1 == 1 {
      waiters[waiter].grants[index] = turn.batch.grant
      let place = counters.find(waiters[waiter].question[index].key)
      guard place >= 0 else { continue }
      let level = waiters[waiter].question[index]
      counters[place].note(
        remaining: level.remaining, restoredAt: turn.sentMoment.addingOrClamped(level.resetNanoseconds),
        moment: turn.sentMoment)
      if level.isDenied {
        noteDenial(place, level, turn.sentMoment, isHeld: isHeld, mayReturn: mayReturn)
      } else if !isDenied {
        counters[place].heldDenials = 0
        // To the store what this loop holds is used; to clients it is not.
        waiters[waiter].question[index].remaining += counters[place].heldTokens
      }
    }
  }

  /// Remembers a denial for as long as it certainly holds. What may come back before, since another node holds it or
  /// since a part of this question was taken elsewhere, is asked for again sooner.
  private func noteDenial(_ place: Int, _ level: QuotaLevel, _ sent: Int64, isHeld: Bool, mayReturn: Bool) {
    var wait = level.resetNanoseconds == .max ? Self.longestDoubt : level.resetNanoseconds
    counters[place].deniedReset = sent.addingOrClamped(wait)
    counters[place].deniedCost = level.cost
    if isHeld {
      wait = min(wait, Self.shortestDoubt << Int64(min(counters[place].heldDenials, 8)), Self.longestDoubt)
      counters[place].heldDenials = min(counters[place].heldDenials + 1, 8)
      recall(place)
    } else if case .rate = level.rule, counters[place].plan.isLeasable {
      // Tokens come back all the time: it is left alone until a slice is worth the question.
      wait = max(wait, min(counters[place].plan.span, Self.slice))
    }
    if mayReturn { wait = min(wait, Self.longestDoubt) }
    counters[place].deniedUntil = sent.addingOrClamped(wait)
  }

  private static var shortestDoubt: Int64 { 4_000_000 }
  private static var longestDoubt: Int64 { 1_000_000_000 }

  // MARK: Again

  /// Asks again what has not been decided. Calendar levels whose period is over are not: they need another one.
  private func requeue(_ turn: LaneTurn, _ number: Int, _ moment: Int64) {
    let lane = turn.batch.lane
    let (entries, settlements) = (turn.entries, turn.settlements)
    let civil = primaries[turn.primary].clock.guess(now: world.now, wall: world.wallTime)
    endTurn(number)
    for entry in entries {
      switch entry.purpose {
      case .lease: counters[Int(entry.index)].isAsking = false
      case .settlement: settleAgain(settlements[Int(entry.index)], civil)
      case .waiter:
        if isOver(waiters[entry.index].question, entry.levels, civil) {
          waiters[entry.index].isStale = true
          partAnswered(entry.index, moment)
        } else if !append(waiter: entry.index, entry.levels, lane: lane, moment) {
          waiters[entry.index].failed |= entry.levels
          partAnswered(entry.index, moment)
        }
      }
    }
  }

  private func isOver(_ question: borrowing LimitQuestion, _ levels: UInt8, _ civil: WallTime) -> Bool {
    for index in 0..<question.count where levels >> UInt8(index) & 1 == 1 {
      if question[index].isOver(at: civil) { return true }
    }
    return false
  }

  /// Gives a turn up: whoever waits for it is decided without the store. What may have run counts as debited; where the
  /// connection was lost with it, only as long as it is not known that the server was too.
  private func fail(_ number: Int, mayHaveRun: Bool, isLost: Bool = false) {
    let moment = clock()
    let turn = turns[number]
    let (entries, settlements) = (turn.entries, turn.settlements)
    endTurn(number)
    for entry in entries {
      switch entry.purpose {
      case .lease: counters[Int(entry.index)].isAsking = false
      case .settlement: if !mayHaveRun { oweAgain(settlements[Int(entry.index)]) }
      case .waiter:
        counts.misses += 1
        waiters[entry.index].failed |= entry.levels
        if mayHaveRun { waiters[entry.index].assumed |= entry.levels }
        if mayHaveRun && isLost { waiters[entry.index].doubtful |= entry.levels }
        partAnswered(entry.index, moment)
      }
    }
  }
}

extension QuotaLevel {
  /// Whether it is about a calendar period that does not run at `civil`.
  func isOver(at civil: WallTime) -> Bool {
    guard case .calendar = rule else { return false }
    return civil < period.start || civil >= period.end
  }
}
