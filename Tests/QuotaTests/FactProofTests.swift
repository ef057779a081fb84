import Testing

@testable import Cluster

@Suite("FactProof") struct FactProofTests {
  private typealias Progress = FactProof.Progress

  /// A look at a moment in milliseconds: what it was told of the primary and its replicas.
  private static func take(
    _ proof: inout FactProof, at milliseconds: Int64?, _ written: Int64, _ followed: Int64?, epoch: Int64 = 1
  ) -> Int64? {
    proof.take(Progress(written: written, followed: followed), of: milliseconds.map { $0 * 1_000_000 }, in: epoch)
      .map { $0 / 1_000_000 }
  }

  @Test("A look proves nothing before a replica has more than was written before it, however often one looks")
  func unproven() {
    var proof = FactProof()
    // In step with all that was there: that was so before the primary was cut off, too.
    #expect(Self.take(&proof, at: 0, 1000, 1000) == nil)
    for number in 1...100 as ClosedRange<Int64> {
      #expect(Self.take(&proof, at: number * 50, 1000 + number * 50, 1000) == nil)
    }
  }

  @Test("What a replica has followed proves the last look before it, once")
  func proven() {
    var proof = FactProof()
    #expect(Self.take(&proof, at: 0, 1000, 900) == nil)
    #expect(Self.take(&proof, at: 250, 1050, 900) == nil)
    #expect(Self.take(&proof, at: 500, 1100, 1051) == 250)
    #expect(Self.take(&proof, at: 750, 1150, 1051) == nil)
    #expect(Self.take(&proof, at: nil, 1200, 1200) == 750)
  }

  @Test("A primary whose replicas have told nothing counts at once; from the first one that has, it is waited for")
  func alone() {
    var proof = FactProof()
    #expect(Self.take(&proof, at: 0, 1000, nil) == 0)
    #expect(Self.take(&proof, at: nil, 1050, nil) == nil)
    #expect(Self.take(&proof, at: 500, 1100, 1000) == nil)
    #expect(Self.take(&proof, at: 750, 1150, 1000) == nil)
    #expect(Self.take(&proof, at: 1000, 1200, 1101) == 500)
    #expect(Self.take(&proof, at: 1250, 1250, nil) == 1250)
  }

  @Test("What was looked at before a failover is not proven by another primary's replicas")
  func failover() {
    var proof = FactProof()
    #expect(Self.take(&proof, at: 0, 1000, 900) == nil)
    #expect(Self.take(&proof, at: 250, 9000, 8000, epoch: 2) == nil)
    #expect(Self.take(&proof, at: 500, 9050, 9050, epoch: 2) == 250)
  }

  @Test("Looks without end take no memory without end, and the oldest are given up first")
  func many() {
    var proof = FactProof()
    for number in 0..<1000 as Range<Int64> { #expect(Self.take(&proof, at: number * 50, number * 50, 0) == nil) }
    #expect(Self.take(&proof, at: 50_000, 50_000, 46_000) == nil)
    #expect(Self.take(&proof, at: 50_050, 50_050, 50_001) == 50_000)
  }

  @Test("Replicas are asked to tell at first and where the proof grows old, after a pause, unless that is refused")
  func hurries() {
    var proof = FactProof()
    func hurry(_ milliseconds: Int64) -> Bool { proof.takeHurry(milliseconds * 1_000_000) }
    #expect(!hurry(0))
    _ = Self.take(&proof, at: 0, 1000, 900)
    #expect(hurry(0) && !hurry(100))
    _ = Self.take(&proof, at: 100, 1050, 1050)
    #expect(!hurry(100))
    _ = Self.take(&proof, at: 450, 1100, 1050)
    #expect(!hurry(450))
    _ = Self.take(&proof, at: 700, 1150, 1050)
    #expect(hurry(700) && !hurry(900) && hurry(950))
    proof.mayHurry = false
    #expect(!hurry(2000))
  }

  @Test("Answers that lack what a primary tells are none")
  func malformed() {
    let head: [AgentReply] = [.bytes([0x31]), .bytes([0x31]), .bytes([]), .bytes([])]
    #expect(Progress(head) == nil)
    #expect(Progress(head + [.bytes(Array("12".utf8)), .bytes([])]) == nil)
    #expect(
      Progress(head + [.bytes(Array("12".utf8)), .bytes(Array("-1".utf8))]) == Progress(written: 12, followed: nil))
    #expect(
      Progress(head + [.bytes(Array("12".utf8)), .bytes(Array("7".utf8))]) == Progress(written: 12, followed: 7))
  }
}
