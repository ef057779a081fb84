import Core
import Foundation
import Net
import Pipeline
import Testing

@testable import Cluster

@Suite("Shared quota on a real Redis", .serialized)
struct SharedQuotaTests {
  /// Long enough that no window ends during a test but with a chance of one in a thousand.
  private let hour: Int64 = 3_600_000_000

  @Test("Three nodes together admit exactly the limit, and tell how much is left")
  func exact() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(3, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let asked = question(level(.window(limit: 100, lengthMicroseconds: hour)))
    var remaining: [Int64] = []
    var denied = 0
    for round in 0..<300 {
      let answer = try rig.decide(round % 3, asked)
      if answer.decision == .admitted {
        #expect(answer.source == .exact)
        remaining.append(answer[0].remaining)
      } else {
        #expect(answer.decision == .denied && answer[0].isDenied && answer[0].remaining == 0)
        denied += 1
      }
    }
    #expect(remaining == (0..<100).reversed().map { Int64($0) } && denied == 200)
    // Each node asked once to hear of the end; the rest it knew.
    let calls = rig.quotas.reduce(0) { $0 + $1.statistics.calls }
    #expect(calls <= 103)
  }

  @Test("Questions of one turn are one call, and its first so many are admitted")
  func batches() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(1, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let asked = question(level(.window(limit: 40, lengthMicroseconds: hour)))
    let tickets = (0..<100).map { _ in rig.ask(0, asked) }
    #expect(try rig.settle())
    #expect(tickets.prefix(40).allSatisfy { rig.answers[$0]?.decision == .admitted })
    #expect(tickets.dropFirst(40).allSatisfy { rig.answers[$0]?.decision == .denied })
    #expect(rig.quotas[0].statistics.calls == 1)
  }

  @Test("Levels in different lanes are taken all or none")
  func severalLanes() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(1, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let wide = level(.window(limit: 1000, lengthMicroseconds: hour), "wide", owner: 1)
    let narrow = level(.window(limit: 5, lengthMicroseconds: hour), "narrow", owner: 2)
    var admitted = 0
    for _ in 0..<50 where try rig.decide(0, question(wide, narrow)).decision == .admitted { admitted += 1 }
    #expect(admitted == 5)
    try rig.run(milliseconds: 50)
    #expect(try rig.decide(0, question(wide), peek: true)[0].remaining == 995)
  }

  @Test("To look takes nothing")
  func peeks() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(2, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let asked = question(level(.rate(intervalNanoseconds: 1_000_000_000_000, burst: 10)))
    #expect(try rig.decide(0, asked).decision == .admitted)
    for _ in 0..<3 {
      let seen = try rig.decide(1, asked, peek: true)
      #expect(seen[0].remaining == 9 && seen.decision == .admitted && !seen[0].isDenied)
    }
    for _ in 0..<9 { _ = try rig.decide(0, asked) }
    let seen = try rig.decide(1, asked, peek: true)
    #expect(seen[0].remaining == 0 && seen.decision == .denied && seen[0].isDenied)
  }

  @Test("Leased limits are admitted from memory, never beyond the limit and to its last token")
  func leases() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(3, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let asked = question(level(.window(limit: 20_000, lengthMicroseconds: hour), mode: .auto))
    var admitted = 0
    var leased = 0
    let end = Clock.monotonic().advanced(byNanoseconds: 30_000_000_000)
    while Clock.monotonic() < end && admitted < 20_000 {
      var tickets: [UInt64] = []
      for _ in 0..<20 { for node in 0..<3 { tickets.append(rig.ask(node, asked)) } }
      #expect(try rig.settle())
      for ticket in tickets where rig.answers[ticket]?.decision == .admitted {
        admitted += 1
        if rig.answers[ticket]?.source == .leased { leased += 1 }
      }
      try rig.run(milliseconds: 1)
    }
    for _ in 0..<600 {
      for node in 0..<3 where try rig.decide(node, asked).decision == .admitted { admitted += 1 }
    }
    #expect(admitted == 20_000)
    #expect(leased > 10_000)
    let calls = rig.quotas.reduce(0) { $0 + $1.statistics.calls }
    // A fiftieth of a call for each of those, and as much again for the tail.
    #expect(calls < 800)
  }

  @Test("Who finds nothing left calls in what others hold and do not need")
  func recalls() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(2, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    // On a machine that stands still for a quarter of a second the first one gives back by itself: then once more.
    for attempt in 0..<5 where rig.quotas[1].statistics.recalls == 0 {
      let asked = question(level(.window(limit: 2000, lengthMicroseconds: hour), "\(attempt)", mode: .leased))
      var admitted = 0
      repeat {
        for _ in 0..<20 where try rig.decide(0, asked).decision == .admitted { admitted += 1 }
        try rig.run(milliseconds: 5)
      } while rig.quotas[0].statistics.heldUnits <= 20 && admitted < 1500
      // The other one wants everything that is left.
      let end = Clock.monotonic().advanced(byNanoseconds: 20_000_000_000)
      while admitted < 2000 && Clock.monotonic() < end {
        if try rig.decide(1, asked).decision == .admitted {
          admitted += 1
        } else {
          try rig.run(milliseconds: 2)
        }
      }
      #expect(admitted == 2000)
    }
    #expect(rig.quotas[1].statistics.recalls > 0)
  }

  @Test("Slots are never more than the limit, and come back")
  func slots() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(2, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let asked = question(level(.concurrency(limit: 10)))
    var held: [(node: Int, question: LimitQuestion)] = []
    for round in 0..<40 {
      let answer = try rig.decide(round % 2, asked)
      if answer.decision == .admitted { held.append((round % 2, answer)) }
      try rig.run(milliseconds: 6)
    }
    #expect(held.count == 10)
    for var one in held { rig.quotas[one.node].release(&one.question, now: rig.loop.now) }
    #expect(try rig.run(milliseconds: 15_000) { rig.quotas.allSatisfy { $0.slotHolders.isEmpty } })
    #expect(try rig.decide(0, asked).decision == .admitted)
  }

  @Test(
    "A store that is killed leaves each node its share, one that is frozen costs a deadline, and both are told after")
  func outages() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(3, RedisServer(address: .socket(redis.socket)), hasty: true)
    #expect(try rig.open())
    let local = question(level(.window(limit: 30, lengthMicroseconds: hour), "local"))
    let open = question(level(.window(limit: 30, lengthMicroseconds: hour), "open", outage: .open))
    let closed = question(level(.window(limit: 30, lengthMicroseconds: hour), "closed", outage: .closed))
    for _ in 0..<6 { #expect(try rig.decide(0, local).decision == .admitted) }
    redis.freeze()
    let start = Clock.monotonic()
    var admitted = 0
    for _ in 0..<20 where try rig.decide(0, local).decision == .admitted { admitted += 1 }
    // 30 are left in three equal parts of 10, of which this node's part of what it saw used, 2, is gone.
    #expect(admitted == 8)
    #expect(try rig.decide(0, open).source == .open)
    #expect(try rig.decide(0, closed).decision == .unavailable)
    #expect(Clock.monotonic().nanoseconds(since: start) < 1_000_000_000)
    redis.thaw()
    #expect(try rig.run { rig.quotas[0].primaries[0].breaker.state == .closed })
    try rig.run(milliseconds: 50)
    // Some of the first questions may have been counted by the store: those were assumed to be.
    let seen = try rig.decide(0, local, peek: true)
    #expect(seen.decision == .admitted && seen[0].remaining <= 30 - 6 - 8 + 0 && seen[0].remaining >= 30 - 6 - 8 - 6)
    #expect(try rig.decide(0, open, peek: true)[0].remaining == 29)
  }

  @Test("A store that lost everything is told again what the nodes have seen")
  func restarts() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(3, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let windowed = question(level(.window(limit: 100, lengthMicroseconds: hour), "w"))
    let sliding = question(level(.sliding(limit: 100, lengthMicroseconds: hour), "s"))
    let rate = question(level(.rate(intervalNanoseconds: 100_000_000_000, burst: 100), "r"))
    for round in 0..<60 {
      for asked in [windowed, sliding, rate] {
        #expect(try rig.decide(round % 3, asked).decision == .admitted)
      }
    }
    redis.kill()
    try rig.run { rig.quotas.allSatisfy { $0.primaries[0].breaker.state == .open } }
    try redis.start()
    #expect(try rig.open())
    for asked in [windowed, sliding, rate] {
      var admitted = 0
      for round in 0..<60 {
        let answer = try rig.decide(round % 3, asked)
        #expect(!answer.source.isDegraded)
        if answer.decision == .admitted { admitted += 1 }
      }
      #expect(admitted == 40)
    }
  }

  @Test("Of a frozen store the first questions wait, no others; thawed it is asked again")
  func frozen() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(1, RedisServer(address: .socket(redis.socket)), hasty: true)
    #expect(try rig.open())
    let asked = question(level(.window(limit: 1_000_000, lengthMicroseconds: hour)))
    #expect(try rig.decide(0, asked).source == .exact)
    redis.freeze()
    var waits: [Int64] = []
    for _ in 0..<200 {
      let start = Clock.monotonic()
      let answer = try rig.decide(0, asked)
      waits.append(Clock.monotonic().nanoseconds(since: start))
      #expect(answer.decision == .admitted && answer.source == .local)
    }
    #expect(waits.filter { $0 > 5_000_000 }.count <= 15 && waits.sorted()[150] < 1_000_000)
    // As long as it is frozen nobody is let wait again.
    try rig.run(milliseconds: 1000)
    let start = Clock.monotonic()
    for _ in 0..<100 { #expect(try rig.decide(0, asked).source == .local) }
    #expect(Clock.monotonic().nanoseconds(since: start) < 500_000_000)
    redis.thaw()
    #expect(try rig.run(milliseconds: 2000) { rig.quotas[0].primaries[0].breaker.state == .closed })
    #expect(try rig.decide(0, asked).source == .exact)
  }

  @Test("A raised limit counts at once, although its end was remembered")
  func raises() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(2, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let before = question(level(.window(limit: 5, lengthMicroseconds: hour)))
    let after = question(level(.window(limit: 8, lengthMicroseconds: hour)))
    for _ in 0..<8 { _ = try rig.decide(0, before) }
    #expect(try rig.decide(0, before).source == .denyCache && rig.decide(1, before).decision == .denied)
    var admitted = 0
    for round in 0..<10 where try rig.decide(round % 2, after).decision == .admitted { admitted += 1 }
    #expect(admitted == 3)
  }

  @Test("A calendar period that is over by the store's clock is asked for anew; nodes' own clocks do not matter")
  func calendars() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(1, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let now = Clock.civil().microseconds
    func asked(_ offset: Int64) -> LimitQuestion {
      let start = WallTime(microseconds: (now / hour + offset) * hour)
      let end = WallTime(microseconds: start.microseconds + hour)
      return question(
        QuotaLevel(
          key: QuotaKey(configured: "c"), rule: .calendar(limit: 10), cost: 1,
          period: CivilPeriod(start: start, end: end), terms: LimitTerms(mode: .exact)))
    }
    #expect(try rig.decide(0, asked(-2)).decision == .stale)
    #expect(try rig.decide(0, asked(2)).decision == .stale)
    #expect(try rig.decide(0, asked(0)).decision == .admitted)
  }

  @Test("Nodes with the old and the new major version of the library count together")
  func twoMajors() throws {
    let redis = try RealRedis()
    let old = LaneLibrary.current
    let new = StoreLibrary(name: "gwrl_9", source: old.scriptSource.replacing("'\(old.name)'", with: "'gwrl_9'"))
    let server = RedisServer(address: .socket(redis.socket))
    let rig = try QuotaRig(2, server) { settings in
      if settings.clientName == "t-1" { settings.laneLibrary = new }
    }
    #expect(try rig.open())
    let exact = question(level(.window(limit: 100, lengthMicroseconds: hour), "e"))
    let leased = question(level(.window(limit: 3000, lengthMicroseconds: hour), "l", mode: .leased))
    var admitted = (exact: 0, leased: 0)
    for round in 0..<200 where try rig.decide(round % 2, exact).decision == .admitted { admitted.exact += 1 }
    for round in 0..<4000 {
      if try rig.decide(round % 2, leased).decision == .admitted { admitted.leased += 1 }
      if round % 20 == 0 { try rig.run(milliseconds: 2) }
    }
    for _ in 0..<100 where admitted.leased < 3000 {
      try rig.run(milliseconds: 20)
      for node in 0..<2 where try rig.decide(node, leased).decision == .admitted { admitted.leased += 1 }
    }
    #expect(admitted == (100, 3000))
    let link = try RealLink(server)
    #expect(try link.run { $0.ups == [1] })
    link.owner.send(1, "FUNCTION", "LIST", within: 1_000_000_000)
    #expect(try link.run { $0.outcomes.count == 1 })
    let listed = "\(link.owner.outcomes)"
    #expect(listed.contains(old.name) && listed.contains("gwrl_9"))
  }

  @Test("A reply that breaks off at any byte loses no question and debits nothing twice")
  func brokenReplies() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(cutting: redis)
    #expect(try rig.open())
    let asked = question(level(.window(limit: 1_000_000, lengthMicroseconds: hour)))
    #expect(try rig.decide(0, asked).source == .exact)
    var questions: Int64 = 1
    // An answer to one item is some forty bytes long.
    for cut in 1...45 {
      rig.proxy?.bytesLeft = cut
      let tickets = (0..<3).map { _ in rig.ask(0, asked) }
      questions += 3
      #expect(try rig.settle())
      for ticket in tickets { #expect(rig.answers[ticket]?.decision == .admitted) }
      rig.proxy?.bytesLeft = nil
      #expect(try rig.open())
    }
    #expect((rig.proxy?.cuts ?? 0) > 30)
    let remaining = try rig.decide(0, asked, peek: true)[0].remaining
    #expect(remaining <= 1_000_000 - 1 && remaining >= 1_000_000 - questions)
  }

  @Test("What a server refuses is decided alone, and asked again as soon as it does not")
  func refusals() throws {
    let redis = try RealRedis()
    let server = RedisServer(address: .socket(redis.socket))
    let rig = try QuotaRig(1, server)
    #expect(try rig.open())
    let operatorLink = try RealLink(server)
    #expect(try operatorLink.run { $0.ups == [1] })
    var tag: UInt64 = 0
    func order(_ first: String, _ second: String, _ third: String? = nil) throws {
      tag += 1
      let expected = Int(tag)
      if let third {
        operatorLink.owner.send(tag, first, second, third, within: 1_000_000_000)
      } else {
        operatorLink.owner.send(tag, first, second, within: 1_000_000_000)
      }
      #expect(try operatorLink.run { $0.outcomes.count == expected })
    }
    let asked = question(level(.window(limit: 1000, lengthMicroseconds: hour)))
    var questions: Int64 = 0
    for (first, second, third) in [
      ("FUNCTION", "FLUSH", nil), ("SCRIPT", "FLUSH", nil), ("CONFIG", "RESETSTAT", nil),
      ("FUNCTION", "DELETE", LaneLibrary.current.name), ("REPLICAOF", "127.0.0.1", "1"),
    ] as [(String, String, String?)] {
      try order(first, second, third)
      for _ in 0..<5 {
        questions += 1
        #expect(try rig.decide(0, asked).decision == .admitted)
      }
      if first == "REPLICAOF" { try order("REPLICAOF", "NO", "ONE") }
      #expect(try rig.open())
      #expect(try rig.decide(0, asked).source == .exact)
      questions += 1
    }
    try rig.run(milliseconds: 100)
    #expect(try rig.decide(0, asked, peek: true)[0].remaining == 1000 - questions)
  }

  @Test("Nodes find out how many they are, and share what is left when the store goes away")
  func members() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(3, RedisServer(address: .socket(redis.socket)), meet: true, hasty: true)
    #expect(try rig.open())
    let asked = question(level(.window(limit: 31, lengthMicroseconds: hour)))
    // A list that is new is waited for as long as a node may be silent.
    let isComplete = try rig.run(milliseconds: 15_000) {
      rig.nodes.allSatisfy { $0.standing?.isListed == true && $0.standing?.count == 3 }
    }
    #expect(isComplete)
    redis.freeze()
    defer { redis.thaw() }
    var admitted = [0, 0, 0]
    for round in 0..<60 where try rig.decide(round % 3, asked).decision == .admitted { admitted[round % 3] += 1 }
    #expect(admitted.sorted() == [10, 10, 11])
  }
}
