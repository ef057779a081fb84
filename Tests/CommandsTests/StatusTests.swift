import Core
import Testing

@testable import Commands

@Suite("sluice status") struct StatusTests {
  private func parse(_ text: String) throws -> JSONValue {
    try #require(JSONDocument.parse(Array(text.utf8)).document).root
  }

  private func cluster(leader: String, storeUp: Bool = true, _ nodes: String...) throws -> StatusText {
    let root = try parse(
      """
      { time: "2026-03-01T00:01:30Z", leader: \(leader), generation: 7, storeUp: \(storeUp), ageMilliseconds: 61000,
        nodes: [\(nodes.joined(separator: ", "))] }
      """)
    return StatusText(cluster: root)
  }

  private func node(_ name: String, role: String = "member", alive: Bool = true, age: Int = 20) -> String {
    """
    { name: "\(name)", role: "\(role)", alive: \(alive), ageMilliseconds: \(age), since: "2026-03-01T00:00:00Z",
      ready: true, draining: false, revision: 4, facts: { epoch: 2, sequence: 31 }, version: "1.2.3",
      storeMicroseconds: 1234, load: { requestsPerSecond: 12.5, connections: 3 } }
    """
  }

  private let leader = "{ id: \"1\", name: \"a\", epoch: 9 }"

  @Test("Without a leader, and without the store, it says so and is not whole")
  func missing() throws {
    let orphans = try cluster(leader: "null", node("a"))
    #expect(!orphans.isWhole && orphans.text.contains("nobody leads"))
    let alone = try cluster(leader: leader, storeUp: false, node("a"))
    #expect(!alone.isWhole && alone.text.contains("what it knew 1m1s ago"))
  }

  @Test("A member that is gone is shown until one of its name is back")
  func gone() throws {
    let lost = try cluster(leader: leader, node("a", role: "leader"), node("b", alive: false, age: 7000))
    #expect(!lost.isWhole && lost.text.contains("gone for 7s") && lost.text.contains("1 of 2 nodes"))
    let back = try cluster(leader: leader, node("a", role: "leader"), node("b", alive: false, age: 7000), node("b"))
    #expect(back.isWhole && !back.text.contains("gone") && back.text.contains("2 nodes"))
  }

  @Test("Every member has a row: role, state, age, revision, lag, load, facts and version")
  func rows() throws {
    let text = try cluster(leader: leader, node("b"), node("a", role: "leader")).text
    #expect(
      text == """
        NODE  ROLE    STATE     UP  REVISION    LAG    LOAD  CONNECTIONS  FACTS  VERSION
        a     leader  ready  1m30s         4  1.2ms  12.5/s            3  2-31   1.2.3
        b     member  ready  1m30s         4  1.2ms  12.5/s            3  2-31   1.2.3
        2 nodes, list 7; a leads in epoch 9

        """)
  }

  @Test("What policies in shadow would have refused is said")
  func shadows() throws {
    #expect(StatusText.shadows(try parse("{ shadow: [] }")) == "")
    let text = StatusText.shadows(try parse("{ shadow: [{ policy: \"fair-use\", passed: 30, refused: 12 }] }"))
    #expect(text == "in shadow here, fair-use would have refused 12 of 42 requests\n")
  }

  @Test("A node without a cluster shows itself, and says what it lacks")
  func single() throws {
    let root = try parse("{ version: \"1.2.3\", ready: true, draining: false, uptimeSeconds: 61 }")
    let status = StatusText(node: root, at: "127.0.0.1:9901")
    #expect(status.isWhole && status.text.contains("127.0.0.1:9901  ready  1m1s  1.2.3"))
    #expect(status.text.contains("no cluster"))
  }
}
