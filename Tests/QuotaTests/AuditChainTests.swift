import Core
import Crypto
import Testing

@testable import Cluster

@Suite("AuditChain")
struct AuditChainTests {
  private let secrets = ClusterSecrets(secret: Array("the cluster's secret".utf8))

  private func lines(_ count: Int, from first: Int64 = 1, previous: String = "") -> [[UInt8]] {
    var place = AuditPlace(sequence: first, previous: previous)
    return (0..<count).map { number in
      var entry = AuditEntry(actor: "ops", action: "putConfig")
      entry.target = "revision \(number) \"quoted\",\"signature\":\"no\""
      let line = entry.line(at: place, time: WallTime(microseconds: 1_795_300_200_000_000), node: "a", secrets: secrets)
      place = AuditPlace(sequence: place.sequence + 1, previous: AuditLine.digest(of: line))
      return line
    }
  }

  private func findings(_ lines: [[UInt8]], keys: [VerifyingKey]? = nil) -> [AuditFinding] {
    var chain = AuditChain(keys: keys ?? secrets.auditKeys)
    return lines.compactMap { chain.take($0) }
  }

  @Test("A flip of any byte of any line is found")
  func flips() {
    let lines = lines(3)
    for index in lines[1].indices {
      var changed = lines
      changed[1][index] ^= 1
      #expect(!findings(changed).isEmpty, "byte \(index)")
    }
  }

  @Test("A line that is removed, moved, doubled or replaced is named")
  func changes() {
    let lines = lines(6)
    #expect(findings(lines) == [])
    #expect(findings([lines[0]] + lines[2...]) == [.missing(first: 2, last: 2)])
    #expect(findings([lines[0]] + lines[4...]) == [.missing(first: 2, last: 4)])
    #expect(findings(lines[...1] + [lines[1]] + lines[2...]) == [.misplaced(sequence: 2, expected: 3)])
    #expect(findings([lines[0], lines[2], lines[1], lines[3]]).count == 2)
    let other = self.lines(1, from: 3, previous: "another")[0]
    #expect(findings(lines[...1] + [other]) == [.unlinked(sequence: 3)])
    #expect(findings(lines + self.lines(2)) == [.begunAnew(after: 6)])
    #expect(findings([Array("{}".utf8)]) == [.malformed])
  }

  @Test("A log may begin anywhere, since old lines are dropped, and hold lines of a former secret")
  func accepted() {
    #expect(findings(Array(lines(5)[2...])) == [])
    let rolled = ClusterSecrets(secret: Array("the new secret, long".utf8), former: Array("the cluster's secret".utf8))
    #expect(findings(lines(3), keys: rolled.auditKeys) == [])
    let stranger = ClusterSecrets(secret: Array("of somebody else".utf8))
    #expect(findings(lines(2), keys: stranger.auditKeys) == [.altered(sequence: 1), .altered(sequence: 2)])
  }

  @Test("A line is found in a node's log, and texts in it are cut to a length")
  func texts() throws {
    let line = lines(1)[0]
    #expect(AuditChain.line(in: Array("sluice: audit ".utf8) + line) == line)
    #expect(AuditChain.line(in: Array("{\"time\":1}".utf8)) == nil)
    var entry = AuditEntry(actor: String(repeating: "é", count: 5000), action: "a")
    entry.reason = "\u{7}"
    let long = entry.line(
      at: AuditPlace(sequence: 1, previous: ""), time: WallTime(microseconds: 0), node: "n", secrets: secrets)
    #expect(long.count < 10_000 && findings([long]) == [])
  }
}
