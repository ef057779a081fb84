import Cluster
import Core
import Crypto
import Pipeline

/// What reading the decision library's answers promises, whatever Redis says.
enum LaneTargets {
  /// The answer to a rate, twice a window, and both a sliding window and the same window: refused, or it says of every hit
  /// whether it passed, and never more of them than were asked for.
  @Sendable
  static func answers(_ bytes: RawSpan) {
    guard let map = LaneMap(cluster: "f", laneCount: 1, secret: SipKey(low: 1, high: 2)),
      let caller = LaneCaller(replicationID: [UInt8](repeating: 97, count: 40), node: 1, dialect: .function)
    else { preconditionFailure("the fixed names must do") }
    let batch = LaneBatch(map: map)
    batch.begin(lane: 0)
    let rate = question(.rate(intervalNanoseconds: 1_000_000, burst: 10))
    let window = question(.window(limit: 10, lengthMicroseconds: 1_000_000))
    let both = question(
      .sliding(limit: 10, lengthMicroseconds: 1_000_000), .window(limit: 10, lengthMicroseconds: 1_000_000))
    let asked = [rate, window, window, both]
    let places = asked.map { batch.append($0) }
    batch.encode(for: caller, clock: WallTime(microseconds: 1_800_000_000_000_000), into: ByteBuffer())
    if batch.read(bytes) == .answered {
      for (place, question) in zip(places, asked) {
        guard let place else { preconditionFailure("the fixed questions must fit") }
        var answer = question
        batch.answer(place, &answer)
        precondition(batch.admitted(place.item) <= 2)
        precondition((answer.decision == .admitted) == batch.isAdmitted(place))
        for level in 0..<answer.count { precondition(answer[level].remaining >= 0) }
      }
      batch.forEachWatermark { _ in }
    }
    _ = LaneRecordReply(bytes)
    var slots = LaneSlots(map: map, lane: 0)
    let slot = question(.concurrency(limit: 3))
    precondition(slots.append(slot[0], wanted: 1))
    _ = slots.read(bytes)
    var beat = MemberBeat(cluster: "f", node: 1, participants: 2, name: "n")
    if case .standing(_, let standing) = beat.read(bytes) {
      precondition(0...10 ~= beat.share(of: 10) && beat.standing == standing)
    }
  }

  private static func question(_ rules: LimitRule...) -> LimitQuestion {
    var question = LimitQuestion()
    let never = WallTime(microseconds: 0)
    for rule in rules {
      let key = QuotaKey(low: UInt64(rule.limit), high: 7)
      question.append(QuotaLevel(key: key, rule: rule, cost: 1, period: CivilPeriod(start: never, end: never)))
    }
    return question
  }
}
