// Few tokens for long, of quiet counters that only one machine is asked about: behind a router that sends all requests of
// a key to one node, that is nearly every counter. Only limits of windows and calendar periods are leased so, and only in
// mode `leased`: what is held shows as used, and within such a period nobody can tell when a token is spent.
//
// A short lease is over before a failover that it knows nothing of can have opened the lanes anew. A long one is not, so
// it counts for a second at a time: for as long as the store goes on answering questions about the counter's lane in the
// epoch in which it was granted.

import Core
import Pipeline

extension SharedQuota {
  /// The most units of a sole lease; all loops of a node together hold at most this part of the limit.
  private static var mostUnits: Int64 { 32 }
  private static var parts: Int64 { 16 }
  /// Windows that are shorter are not worth it, in microseconds.
  private static var shortestWindow: Int64 { 10_000_000 }
  /// How long no sole lease is asked for after one was refused.
  private static var refusal: Int64 { 30_000_000_000 }
  /// Holders are looked at a few at a time, so that no turn is long.
  private static var soleReview: Int64 { 50_000_000 }
  private static var reviewed: Int { 256 }

  /// Whether a counter gets sole leases or none: it may be held for long, and little is asked for.
  func isQuiet(_ place: Int) -> Bool {
    counters[place].demand < Self.promotion && counters[place].level.terms.mode == .leased
      && mostSoleUnits(place) >= 2 * counters[place].cost
  }

  private func mostSoleUnits(_ place: Int) -> Int64 {
    switch counters[place].level.rule {
    case .window(_, let length): if length < Self.shortestWindow { return 0 }
    case .calendar: break
    case .rate, .sliding, .concurrency: return 0
    }
    return min(Self.mostUnits, counters[place].level.rule.limit / (Self.parts * Int64(node.loops)))
  }

  /// A request of a quiet counter has to ask the store: for as much more as such a counter needed lately.
  func askSoleLease(_ place: Int, _ moment: Int64) {
    let (slice, most) = (counters[place].slice, mostSoleUnits(place))
    // Held, but not confirmed: the answer to this request will do that.
    if slice.tokens >= counters[place].cost, moment < slice.last { return }
    if moment < slice.last {
      counters[place].sole.units = min(most, counters[place].sole.units * 2)
    } else if counters[place].sole.askedAt > moment - LaneMode.soleHolding {
      counters[place].sole.units = max(counters[place].sole.units, 2 * counters[place].cost)
    }
    counters[place].sole.askedAt = moment
    let units = min(most, counters[place].sole.units)
    guard units >= 2 * counters[place].cost, counters[place].remaining > 2 * units, moment >= counters[place].sole.from
    else { return }
    ask(place, .soleLease, Double(units))
  }

  func soleLeaseAnswered(_ place: Int, _ turn: LaneTurn, _ granted: Int64, reset: Int64, _ moment: Int64) {
    guard granted > 0 else { return counters[place].sole.from = moment + Self.refusal }
    counts.leasedUnits &+= UInt64(granted)
    counters[place].slice = surrendered(counters[place].slice, place)
    let span = min(reset, LaneMode.soleHolding)
    let last = turn.sentMoment + Self.trusted(span)
    counters[place].slice = TrackedCounter.Slice(
      tokens: granted, end: min(last, turn.sentMoment + Self.trusted(LeasePlan.longestSpan)), last: last,
      endsPeriod: span == reset, grant: turn.batch.grant)
    guard !counters[place].sole.isListed else { return }
    counters[place].sole.isListed = true
    soleHolders.append(Int32(place))
    soleHoldersAt = min(soleHoldersAt, moment + Self.soleReview)
  }

  /// Whether there are tokens of a sole lease, which then count for another second.
  func hasSoleTokens(_ place: Int, _ cost: Int64, _ moment: Int64) -> Bool {
    let slice = counters[place].slice
    guard slice.tokens >= cost, slice.end < slice.last, moment < slice.last else { return false }
    let lane = map.lane(of: counters[place].level.owner)
    guard lanes[lane].epoch == slice.grant.epoch else {
      // The lane was opened anew: what this loop holds may have been granted to somebody else since.
      counters[place].slice = TrackedCounter.Slice()
      return false
    }
    counters[place].slice.end = min(slice.last, lanes[lane].confirmedAt + Self.trusted(LeasePlan.longestSpan))
    return moment < counters[place].slice.end
  }

  /// Gives back what is over, of some of the holders.
  func reviewSoleHolders(_ moment: Int64) {
    for _ in 0..<min(Self.reviewed, soleHolders.count) {
      if nextSoleHolder >= soleHolders.count { nextSoleHolder = 0 }
      let place = Int(soleHolders[nextSoleHolder])
      let slice = counters[place].slice
      if slice.last <= moment {
        counters[place].sole.units = max(0, counters[place].sole.units - slice.tokens)
        counters[place].slice = surrendered(slice, place)
      }
      if counters[place].slice.tokens > 0 || counters[place].isAsking {
        nextSoleHolder += 1
      } else {
        counters[place].sole.isListed = false
        soleHolders.swapAt(nextSoleHolder, soleHolders.count - 1)
        soleHolders.removeLast()
      }
    }
    soleHoldersAt = soleHolders.isEmpty ? .max : moment + Self.soleReview
  }
}
