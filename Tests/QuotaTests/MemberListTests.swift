import ModelRedis
import Testing

@testable import Cluster

@Suite("The list of members")
struct MemberListTests {
  private let rig = AgreementRig()
  private let epoch: String

  init() { epoch = rig.call("elect", "a", "a", "100000000000", "0", "", "").texts[0] }

  private func tell(_ nodes: String...) {
    for node in nodes { #expect(rig.call("tell", node, "{\"id\":\"\(node)\"}").texts.count >= 4) }
  }

  private func list(seen: Int = 0) -> String { rig.call("list", "a", epoch, "\(seen)").text }

  private var nodes: String { rig.call("roster").texts[1] }

  @Test("A record that is too long is refused, and so is a member beyond the thousandth")
  func bounds() {
    #expect(rig.call("tell", "a", String(repeating: "x", count: 16_385)).text == "-MALFORMED")
    for number in 0..<1024 { tell("n\(number)") }
    #expect(rig.call("tell", "late", "{}").text == "-FULL")
    tell("n7")
  }

  @Test("The list grows and shrinks by who gives signs of life, and its number grows with each change only")
  func changes() {
    tell("b", "a")
    #expect(list() == "1" && list() == "1" && nodes == "a b")
    tell("c")
    #expect(rig.published.contains("member c"))
    #expect(list() == "2" && nodes == "a b c")
    for _ in 0..<4 {
      rig.pass(milliseconds: 1000)
      tell("a", "c")
    }
    #expect(list() == "2")
    rig.pass(milliseconds: 1200)
    tell("a", "c")
    #expect(list() == "3" && nodes == "a c")
    rig.forget()
    #expect(rig.call("leave", "c").text == "1" && rig.published == ["member c"])
    #expect(list() == "4" && nodes == "a")
  }

  @Test("Nobody is missed because the store stood still, or its clock was set", arguments: [3_600_000, -3_600_000])
  func clockSteps(milliseconds: Int64) {
    tell("a", "b", "c")
    #expect(list() == "1")
    rig.pass(milliseconds: milliseconds)
    tell("a")
    _ = rig.call("elect", "a", "a", "100000000000", "0", "", "")
    #expect(rig.call("list", "a", rig.call("tell", "a", "{}").leadEpoch, "0").text == "1" && nodes == "a b c")
  }

  @Test("A router is known to all and on nobody's list; news are published, signs of life are not")
  func routers() {
    tell("a", "router:r")
    #expect(list() == "1" && nodes == "a")
    #expect(rig.call("roster").texts.contains("router:r"))
    rig.forget()
    tell("a", "router:r")
    #expect(rig.published.isEmpty)
    _ = rig.call("tell", "a", "{}", "news")
    #expect(rig.published == ["member a"])
    #expect(rig.call("leave", "router:r").text == "1" && list() == "1")
  }

  @Test("A list that a failover has lost comes back with a higher number")
  func lostList() {
    tell("a", "b")
    #expect(list() == "1")
    rig.ask("DEL {}:list")
    #expect(list(seen: 7) == "8" && nodes == "a b")
  }

  @Test("Records are kept for an hour of signs of life, then they go")
  func forgotten() {
    tell("a", "b")
    for _ in 0..<2884 {
      rig.pass(milliseconds: 1250)
      tell("a")
    }
    #expect(list() == "1" && rig.call("roster").texts.filter { $0 == "b" } == [])
  }

  @Test("Every sign of life is answered with who leads and which list holds")
  func answers() {
    tell("a")
    _ = list()
    guard case .list(let items) = rig.call("tell", "a", "{}") else { return #expect(Bool(false)) }
    #expect(items[2] == .bytes(Array("list".utf8)) && items[3] == .bytes(Array("1".utf8)))
    #expect(items[4] == .bytes(Array("lead".utf8)) && items[5].texts[1] == "a")
  }
}

extension ModelReply {
  /// The epoch that the answer to a sign of life tells.
  fileprivate var leadEpoch: String {
    guard case .list(let items) = self else { return "" }
    return items[5].texts[0]
  }
}
