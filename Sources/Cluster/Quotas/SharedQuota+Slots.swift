// Slots of limits on requests that run at the same time. A loop holds slots on lease and admits from memory as many
// exchanges as it holds; it renews all of them every second, and those of a loop that died come back by themselves. Nobody
// asks for fewer than are in use, so the sum of all slots never exceeds the limit; after the end of a lease that could not
// be renewed no further exchange begins.

import Core
import Pipeline

/// Who waits for slots of one lane.
struct SlotQueue {
  struct Wait {
    let counter: Int32
    let waiter: Int32
    let level: UInt8
  }

  /// In the order in which they came.
  var waits: ContiguousArray<Wait> = []
  /// The call under way, what it is about, and when it was sent by the boot clock.
  var call: LaneSlots?
  var asked: ContiguousArray<Int32> = []
  var sentMoment: Int64 = 0
  var isClaim = false
  /// Counters to ask about with the next call.
  var due: ContiguousArray<Int32> = []
}

extension SharedQuota {
  /// How long slots are leased, how much of that counts, and how often they are renewed, in nanoseconds.
  private static var slotLease: Int64 { 3_000_000_000 }
  private static var renewal: Int64 { 1_000_000_000 }
  /// How long a limit without a free slot is believed to have none.
  private static var slotPause: Int64 { 5_000_000 }

  @inline(__always)
  func hasSlot(_ place: Int, _ moment: Int64) -> Bool {
    counters[place].slots.used < counters[place].slots.held && moment < counters[place].slots.end
  }

  /// Takes a slot, which is there.
  func takeSlot(_ place: Int, _ level: inout QuotaLevel) {
    counters[place].slots.used += 1
    counters[place].slots.peak = max(counters[place].slots.peak, counters[place].slots.used)
    level.isHeld = true
    level.remaining = max(0, level.rule.limit - counters[place].slots.others - counters[place].slots.used)
    level.resetNanoseconds = 0
  }

  /// A slot of the node's own share was taken, since the store is away.
  func takeSlotAlone(_ level: inout QuotaLevel) {
    level.isHeld = true
    let place = counters.find(level.key)
    guard place >= 0 else { return }
    counters[place].slots.alone += 1
    list(place, clock())
  }

  /// The store is back: it is told of the slots that were taken without it.
  func claimSlotsAlone() {
    for place in slotHolders where counters[Int(place)].slots.alone > 0 {
      askAbout(Int(place), map.lane(of: counters[Int(place)].level.owner))
    }
  }

  /// The store has been told of these too: from now on they are slots like all others.
  private func joinSlots(_ place: Int) {
    let alone = counters[place].slots.alone
    counters[place].slots.used += alone
    counters[place].slots.alone = 0
    for _ in 0..<alone { releaseShare(of: place) }
  }

  private func releaseShare(of place: Int) {
    var question = LimitQuestion()
    question.append(counters[place].level)
    question[0].isHeld = true
    node.shares.release(&question)
  }

  func freeSlot(_ key: QuotaKey) {
    let place = counters.find(key)
    guard place >= 0 else { return }
    if counters[place].slots.used > 0 {
      counters[place].slots.used -= 1
    } else if counters[place].slots.alone > 0 {
      counters[place].slots.alone -= 1
      releaseShare(of: place)
    }
  }

  /// Lets a waiter wait for slots of these levels; a peek is answered from memory.
  func askSlots(_ waiter: Int32, _ levels: UInt8, _ moment: Int64) {
    for index in 0..<waiters[waiter].question.count where levels >> UInt8(index) & 1 == 1 {
      let level = waiters[waiter].question[index]
      let place = counters.place(of: level, moment: moment)
      let lane = map.lane(of: level.owner)
      if waiters[waiter].isPeek {
        let slots = place >= 0 ? counters[place].slots : TrackedCounter.Slots()
        waiters[waiter].question[index].remaining = max(0, level.rule.limit - slots.others - slots.used)
      } else if place < 0 || primaries[primaryOf(lane)].breaker.state != .closed {
        waiters[waiter].failed |= 1 << UInt8(index)
      } else {
        waiters[waiter].pending += 1
        counters[place].slots.waiting += 1
        slotQueues[lane].waits.append(SlotQueue.Wait(counter: Int32(place), waiter: waiter, level: UInt8(index)))
        askAbout(place, lane)
      }
    }
  }

  private func askAbout(_ place: Int, _ lane: Int) {
    if !slotQueues[lane].due.contains(Int32(place)) { slotQueues[lane].due.append(Int32(place)) }
    slotsAreDue = true
  }

  /// Sends what is due of all lanes that have no call under way.
  func sendSlots(_ moment: Int64) {
    guard slotsAreDue else { return }
    slotsAreDue = false
    for lane in lanes.indices where !slotQueues[lane].due.isEmpty {
      if slotQueues[lane].call != nil {
        // Its answer, or the want of one, makes them due again. That of a claim may take longer than anybody waits.
        if slotQueues[lane].isClaim { slotsAreDue = true }
        continue
      }
      guard lanes[lane].state == .open, lanes[lane].pausedUntil <= moment else {
        slotsAreDue = true
        continue
      }
      sendSlots(lane, slotQueues[lane].due, isClaim: false, moment)
    }
  }

  private func sendSlots(_ lane: Int, _ places: ContiguousArray<Int32>, isClaim: Bool, _ moment: Int64) {
    guard let caller = primaries[primaryOf(lane)].caller else { return }
    var call = LaneSlots(map: map, lane: lane)
    var asked: ContiguousArray<Int32> = []
    for place in places {
      let slots = counters[Int(place)].slots
      let wanted = isClaim ? slots.held : max(slots.used + slots.alone + slots.waiting, slots.peak)
      guard call.append(counters[Int(place)].level, wanted: wanted) else { break }
      // Others may have the rest as soon as this is sent, whether or not it is answered.
      counters[Int(place)].slots.held = min(slots.held, wanted)
      asked.append(place)
    }
    slotQueues[lane].due.removeAll { asked.contains($0) }
    let oldest = slotQueues[lane].waits.first { asked.contains($0.counter) }.map { waiters[$0.waiter].since }
    let age = oldest.map { world.now.nanoseconds(since: $0) } ?? 0
    let admission = client.send(
      slot: lanes[lane].slot, tag: Self.tag(.slots, lane),
      within: isClaim ? 10 * settings.deadline : max(1_000_000, settings.deadline - age)
    ) {
      call.encode(for: caller, leaseMicroseconds: Self.slotLease / 1000, isHolding: isClaim, into: $0)
    }
    slotQueues[lane].asked = asked
    slotQueues[lane].isClaim = isClaim
    slotQueues[lane].sentMoment = moment
    slotQueues[lane].call = call
    if admission != .accepted { slotsFailed(lane) }
  }

  func slotsAnswered(_ lane: Int, _ reply: borrowing RedisReply) {
    guard let call = slotQueues[lane].call else { return }
    let asked = slotQueues[lane].asked
    endSlotCall(lane)
    let moment = clock()
    let answer = reply.error == nil ? call.read(reply.value.bytes) : .malformed
    switch answer {
    case .granted(_, let grants):
      for (place, grant) in zip(asked, grants) {
        let hasGrown = grant.slots > counters[Int(place)].slots.held
        counters[Int(place)].slots.held = grant.slots
        counters[Int(place)].slots.others = grant.others
        if !slotQueues[lane].isClaim { joinSlots(Int(place)) }
        counters[Int(place)].slots.end = slotQueues[lane].sentMoment + Self.slotLease - Self.slotLease / 2000
        list(Int(place), moment)
        serve(Int(place), lane, isFinal: !hasGrown, moment)
      }
    case .recover, .gated:
      if case .recover = answer {
        lanes[lane].state = .closed
        identify(primaryOf(lane))
      }
      slotQueues[lane].due.append(contentsOf: asked)
      lanes[lane].pausedUntil = max(lanes[lane].pausedUntil, moment + 2_000_000)
      slotsAreDue = true
    case .malformed:
      for place in asked { failSlots(Int(place), lane, moment) }
    }
  }

  /// A call is over: what became due meanwhile is sent with this turn.
  private func endSlotCall(_ lane: Int) {
    slotQueues[lane].call = nil
    if !slotQueues[lane].due.isEmpty { slotsAreDue = true }
  }

  func slotsFailed(_ lane: Int) {
    let asked = slotQueues[lane].asked
    endSlotCall(lane)
    guard !slotQueues[lane].isClaim else { return }
    let moment = clock()
    for place in asked { failSlots(Int(place), lane, moment) }
  }

  /// Gives the waiters of a counter slots, in their order; those for whom none is left are refused, unless more may come.
  private func serve(_ place: Int, _ lane: Int, isFinal: Bool, _ moment: Int64) {
    let (mine, others) = split(place, lane)
    slotQueues[lane].waits = others
    for wait in mine {
      if hasSlot(place, moment) {
        takeSlot(place, &waiters[wait.waiter].question[Int(wait.level)])
        waiters[wait.waiter].reserved |= 1 << wait.level
      } else if isFinal {
        refuseSlot(place, wait, moment)
      } else {
        slotQueues[lane].waits.append(wait)
        askAbout(place, lane)
        continue
      }
      counters[place].slots.waiting -= 1
      partAnswered(wait.waiter, moment)
    }
  }

  private func refuseSlot(_ place: Int, _ wait: SlotQueue.Wait, _ moment: Int64) {
    counters[place].note(remaining: 0, restoredAt: moment + Self.renewal, moment: moment)
    counters[place].deniedCost = 1
    counters[place].deniedUntil = moment + Self.slotPause
    counters[place].deniedReset = moment + Self.renewal
    waiters[wait.waiter].isDenied = true
    waiters[wait.waiter].question[Int(wait.level)].isDenied = true
    waiters[wait.waiter].question[Int(wait.level)].remaining = 0
    waiters[wait.waiter].question[Int(wait.level)].resetNanoseconds = Self.renewal
  }

  private func failSlots(_ place: Int, _ lane: Int, _ moment: Int64) {
    let (mine, others) = split(place, lane)
    slotQueues[lane].waits = others
    for wait in mine {
      counters[place].slots.waiting -= 1
      waiters[wait.waiter].failed |= 1 << wait.level
      partAnswered(wait.waiter, moment)
    }
  }

  /// Gives up all who wait for slots of the lanes that `isLost` names and have not been asked for.
  func failSlotWaits(where isLost: (_ lane: Int) -> Bool) {
    guard slotsAreDue else { return }
    let moment = clock()
    for lane in lanes.indices where !slotQueues[lane].waits.isEmpty && isLost(lane) {
      if slotQueues[lane].call != nil && !slotQueues[lane].isClaim { continue }
      for place in slotQueues[lane].due { failSlots(Int(place), lane, moment) }
    }
  }

  private func split(
    _ place: Int, _ lane: Int
  ) -> (mine: ContiguousArray<SlotQueue.Wait>, others: ContiguousArray<SlotQueue.Wait>) {
    let waits = slotQueues[lane].waits
    return (waits.filter { $0.counter == Int32(place) }, waits.filter { $0.counter != Int32(place) })
  }

  // MARK: Renewal

  private func list(_ place: Int, _ moment: Int64) {
    guard !counters[place].slots.isListed else { return }
    counters[place].slots.isListed = true
    slotHolders.append(Int32(place))
    renewAt = min(renewAt, moment + Self.renewal)
  }

  /// Renews all slots, as many as were in use at the same time of late; the others go back.
  func renewSlots(_ moment: Int64) {
    var kept = 0
    for place in slotHolders {
      let slots = counters[Int(place)].slots
      if slots.held == 0 && slots.used == 0 && slots.alone == 0 && slots.waiting == 0 && slots.peak == 0 {
        counters[Int(place)].slots.isListed = false
        continue
      }
      askAbout(Int(place), map.lane(of: counters[Int(place)].level.owner))
      slotHolders[kept] = place
      kept += 1
    }
    slotHolders.removeSubrange(kept...)
    sendSlots(moment)
    // What the renewal asks for is the peak until now; from here on a new one counts.
    for place in slotHolders { counters[Int(place)].slots.peak = counters[Int(place)].slots.used }
    renewAt = slotHolders.isEmpty ? .max : moment + Self.renewal
  }

  /// Takes back what is held in a lane that was opened anew, before others are granted it.
  func claimSlots(_ lane: Int) {
    let moment = clock()
    let places = slotHolders.filter {
      map.lane(of: counters[Int($0)].level.owner) == lane && counters[Int($0)].slots.held > 0
        && counters[Int($0)].slots.end > moment
    }
    if !places.isEmpty { sendSlots(lane, ContiguousArray(places), isClaim: true, moment) }
  }

  /// Gives back every slot that is not in use.
  func giveSlotsBack() {
    for place in slotHolders {
      counters[Int(place)].slots.peak = counters[Int(place)].slots.used
      askAbout(Int(place), map.lane(of: counters[Int(place)].level.owner))
    }
  }
}
