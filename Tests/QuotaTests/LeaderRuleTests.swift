import ModelRedis
import Testing

@testable import Cluster

@Suite("Rules of the lead")
struct LeaderRuleTests {
  private let rig = AgreementRig()
  private static let lease = "3000000"

  private func elect(_ node: String, seen: String = "0", of owner: String = "", waited: String = "") -> [String] {
    rig.call("elect", node, "name-\(node)", Self.lease, seen, owner, waited).texts
  }

  /// The epoch in which `node` has just been elected.
  private func elected(_ node: String, seen: Int64 = 0) throws -> String {
    let answer = elect(node, seen: "\(seen)")
    try #require(answer.count == 6 && answer[1] == node)
    return answer[0]
  }

  @Test("A verb that does not exist, and a wrong number of arguments, are refused")
  func malformed() {
    #expect(rig.call("abdicate").text == "-UNKNOWN")
    #expect(rig.call("renew", "a", "1").text == "-MALFORMED")
    #expect(rig.call("roster", "a").text == "-MALFORMED")
  }

  @Test("Nobody else is elected while a lease runs, and the candidate is told who leads and for how long")
  func taken() throws {
    let epoch = try elected("a")
    rig.pass(milliseconds: 1000)
    let told = elect("b")
    #expect(told == [epoch, "a", "1", "2000000", "name-a", "1800000000000000"])
  }

  @Test("Writes of a leader are refused after its lease, after another one's election, and in another epoch")
  func fence() throws {
    let epoch = try elected("a")
    #expect(rig.call("renew", "a", "1", Self.lease).text == "-FENCED")
    #expect(rig.call("renew", "b", epoch, Self.lease).text == "-FENCED")
    #expect(rig.call("list", "a", epoch, "0").text == "1")
    rig.pass(milliseconds: 3000)
    for verb in ["renew", "list"] { #expect(rig.call(verb, "a", epoch, "0").text == "-FENCED") }
    #expect(rig.call("resign", "a", epoch).text == "-FENCED")
    let next = try elected("b")
    #expect(Int64(next)! > Int64(epoch)!)
    #expect(rig.call("list", "a", epoch, "0").text == "-FENCED")
    #expect(rig.call("list", "b", next, "0").text == "1")
  }

  @Test("A leader that renews leads on, and all hear of it")
  func renewal() throws {
    let epoch = try elected("a")
    for serial in 2...10 {
      rig.pass(milliseconds: 2900)
      rig.forget()
      #expect(rig.call("renew", "a", epoch, Self.lease).texts[2] == "\(serial)")
      #expect(rig.published == ["lead \(epoch) a \(serial) 3000000"])
      #expect(elect("b")[1] == "a")
    }
  }

  @Test("Whoever resigns is followed at once")
  func resignation() throws {
    let epoch = try elected("a")
    rig.forget()
    #expect(rig.call("resign", "a", epoch).texts[1] == "")
    #expect(rig.published == ["lead \(epoch) - 2 0"])
    #expect(Int64(try elected("b"))! > Int64(epoch)!)
  }

  @Test("Epochs grow although a failover has lost some, or the clock was set back", arguments: [0, -3_600_000])
  func epochs(step: Int64) throws {
    var last: Int64 = 0
    for node in ["a", "b", "c"] {
      let epoch = Int64(try elected(node, seen: last))!
      #expect(epoch > last)
      last = epoch
      rig.ask("DEL {}:lead")
      rig.pass(milliseconds: step)
      let answer = elect("d", seen: "\(last)", of: node)
      #expect(answer[1] == "d" && Int64(answer[0])! > last)
      last = Int64(answer[0])!
      rig.ask("HSET {}:lead expires 0")
    }
  }

  @Test("A leader whose epoch others have outdone is replaced, however long its lease")
  func outdone() throws {
    let epoch = try elected("a")
    let higher = "\(Int64(epoch)! + 5)"
    let answer = elect("b", seen: higher, of: "c")
    #expect(answer[1] == "b" && Int64(answer[0])! == Int64(higher)! + 1)
    #expect(rig.call("renew", "a", epoch, Self.lease).text == "-FENCED")
  }

  @Test("Of two leaders in one epoch neither stays")
  func rivals() throws {
    let epoch = try elected("a")
    #expect(elect("b", seen: epoch, of: "a")[1] == "a")
    let answer = elect("b", seen: epoch, of: "c")
    #expect(answer[1] == "b" && Int64(answer[0])! == Int64(epoch)! + 1)
  }

  @Test("A clock that was set back makes no lease longer: it is cut, and who watched it out does not wait at all")
  func clockBack() throws {
    let epoch = try elected("a")
    rig.pass(milliseconds: -3_600_000)
    #expect(elect("b")[3] == "3000000")
    rig.pass(milliseconds: 2000)
    #expect(elect("b")[1] == "a")
    #expect(elect("b", waited: "\(epoch) 2")[1] == "a")
    #expect(elect("b", waited: "\(epoch) 1")[1] == "b")
  }
}
