import Core
import Pipeline
import Testing

@testable import Cluster

/// What the tests of revisions share.
enum RevisionSample {
  static let secrets = ClusterSecrets(secret: Array("the secret of these tests".utf8))
  static let text = Array("{ upstreams: {}, /* why */ routes: [] }".utf8)

  static func body(_ more: String = "") -> RevisionBody {
    RevisionBody(text: text + Array(more.utf8), values: [.environment("A"): "hush-hush", .file("b/c"): "quiet\"one"])!
  }

  static func head(
    _ revision: Int64 = 1, epoch: Int64 = 7, body: [UInt8] = [1], after previous: SignedHead? = nil
  ) -> RevisionHead {
    RevisionHead(
      revision: revision, epoch: epoch, body: RevisionName(of: body), previous: previous?.name ?? .none,
      time: 1_790_000_000_000_000, cause: .applied, author: "ops", message: "lower the limit")
  }

  static func signed(
    _ revision: Int64 = 1, epoch: Int64 = 7, body: [UInt8] = [1], after previous: SignedHead? = nil
  ) -> SignedHead {
    SignedHead(head(revision, epoch: epoch, body: body, after: previous), secrets)
  }

  /// The fault of reading a head.
  static func fault(_ bytes: [UInt8], _ secrets: ClusterSecrets = secrets) -> RevisionFault? {
    do throws(RevisionFault) {
      _ = try SignedHead(bytes, secrets)
      return nil
    } catch { return error }
  }
}

@Suite("SignedHead")
struct SignedHeadTests {
  @Test("a head with any one byte changed, left out, or added is not believed")
  func refusesEveryFlip() {
    let good = RevisionSample.signed().bytes
    for index in good.indices {
      for bit: UInt8 in [1, 0x80] {
        var bytes = good
        bytes[index] ^= bit
        #expect(RevisionSample.fault(bytes) == .signature)
      }
      #expect(RevisionSample.fault(Array(good[..<index])) == .signature)
    }
    #expect(RevisionSample.fault(good + [0]) == .signature)
    #expect(RevisionSample.fault([UInt8](repeating: 0, count: SignedHead.limit + 1)) == .tooLarge)
  }

  @Test("a head of another cluster, or signed for another purpose, is not believed")
  func refusesOthers() {
    let other = ClusterSecrets(secret: Array("the secret of someone else".utf8))
    #expect(RevisionSample.fault(SignedHead(RevisionSample.head(), other).bytes) == .signature)
    let content = RevisionSample.head().content
    let wrong = content + RevisionSample.secrets.sign(content, for: .snapshot)
    #expect(RevisionSample.fault(wrong) == .signature)
  }

  @Test("what a former secret signed is believed while that is known")
  func takesTheFormerSecret() {
    let rolled = ClusterSecrets(secret: Array("the next secret".utf8), former: Array("the secret of these tests".utf8))
    #expect(RevisionSample.fault(RevisionSample.signed().bytes, rolled) == nil)
  }

  @Test("a head is read as it was written")
  func reads() throws {
    var head = RevisionSample.head(3, epoch: 12)
    head.stage = ["node-1", "node-2"]
    head.holdMilliseconds = 60_000
    head.origin = 2
    let made = SignedHead(head, RevisionSample.secrets)
    #expect(try SignedHead(made.bytes, RevisionSample.secrets) == made)
    #expect(head.isFor("node-2") && !head.isFor("node-3"))
  }

  @Test("a head that is signed but not in the one way to write it is refused")
  func refusesOtherSpellings() {
    var head = RevisionSample.head()
    head.stage = ["b", "a"]
    #expect(RevisionSample.fault(SignedHead(head, RevisionSample.secrets).bytes) == .malformed)
    let longer = RevisionSample.head().content + [0]
    #expect(RevisionSample.fault(longer + RevisionSample.secrets.sign(longer, for: .head)) == .malformed)
  }

  @Test("nothing but the next of the chain, under an epoch that is not over, follows a head")
  func keepsTheChain() {
    func fault(_ next: SignedHead, after current: SignedHead?, _ epoch: Int64) -> RevisionFault? {
      do throws(RevisionFault) {
        try next.check(after: current, maxEpoch: epoch)
        return nil
      } catch { return error }
    }
    let first = RevisionSample.signed()
    let second = RevisionSample.signed(2, after: first)
    #expect(fault(second, after: first, 7) == nil)
    #expect(fault(first, after: nil, 0) == nil)
    #expect(fault(first, after: second, 7) == .stale(current: 2))
    #expect(fault(second, after: second, 7) == .stale(current: 2))
    #expect(fault(second, after: first, 8) == .epoch(7, seen: 8))
    #expect(fault(RevisionSample.signed(2, body: [9]), after: first, 7) == .chain)
    // A node that was away cannot know what is between; a later leader may have lost what was.
    #expect(fault(RevisionSample.signed(5, after: second), after: first, 7) == nil)
    #expect(fault(RevisionSample.signed(2, epoch: 9), after: first, 7) == nil)
  }
}

@Suite("RevisionBody")
struct RevisionBodyTests {
  private func fault(_ bytes: [UInt8], _ head: RevisionHead) -> RevisionFault? {
    do throws(RevisionFault) {
      _ = try RevisionBody(bytes, named: head.body, RevisionSample.secrets)
      return nil
    } catch { return error }
  }

  @Test("a body with any one byte changed, left out, or added is not used")
  func refusesEveryFlip() {
    let good = RevisionSample.body().sealed(RevisionSample.secrets)
    let head = RevisionSample.head(body: good)
    for index in good.indices {
      var bytes = good
      bytes[index] ^= 1
      #expect(fault(bytes, head) == .digest)
      #expect(fault(Array(good[..<index]), head) == .digest)
    }
    #expect(fault(good + [0], head) == .digest)
  }

  @Test("secrets sealed with another secret, or beside another text, are not opened")
  func refusesForeignSeals() {
    let other = ClusterSecrets(secret: Array("the secret of someone else".utf8))
    let foreign = RevisionSample.body().sealed(other)
    #expect(fault(foreign, RevisionSample.head(body: foreign)) == .sealed)
    var moved = RevisionSample.body().sealed(RevisionSample.secrets)
    moved[10] ^= 1
    #expect(fault(moved, RevisionSample.head(body: moved)) == .sealed)
  }

  @Test("a body is read as it was written, and shows no secret on the way")
  func reads() throws {
    let body = RevisionSample.body()
    let bytes = body.sealed(RevisionSample.secrets)
    let read = try RevisionBody(bytes, named: RevisionName(of: bytes), RevisionSample.secrets)
    #expect(read == body)
    #expect(!String(decoding: bytes, as: UTF8.self).contains("hush"))
    #expect(read.resolver(.environment("A")) == .success("hush-hush"))
    guard case .failure = read.resolver(.environment("Z")) else {
      Issue.record("what is not in the revision was found elsewhere")
      return
    }
  }

  @Test("a text beyond the limit is no body")
  func refusesTooLarge() {
    #expect(RevisionBody(text: [UInt8](repeating: 32, count: RevisionBody.longestText + 1), values: [:]) == nil)
    let value = String(repeating: "x", count: RevisionBody.longestValues)
    #expect(RevisionBody(text: [], values: [.environment("A"): value]) == nil)
  }
}

@Suite("LastGood")
struct LastGoodTests {
  private func kept(_ revision: Int64, epoch: Int64 = 7) -> LastGood {
    let body = RevisionSample.body("// \(revision)").sealed(RevisionSample.secrets)
    return LastGood(RevisionSample.signed(revision, epoch: epoch, body: body), body: body)
  }

  @Test("a file with any one byte changed, left out, or added is passed over for the one before")
  func passesOverEveryFlip() {
    let (older, newer) = (kept(1), kept(2))
    let good = newer.bytes
    func revisions(_ bytes: [UInt8]) -> [Int64] {
      let contents = ShelfContents([("2", bytes), ("1", older.bytes)], RevisionSample.secrets)
      #expect(contents.good.count + contents.bad.count == 2)
      return contents.good.map(\.head.head.revision)
    }
    #expect(revisions(good) == [2, 1])
    for index in good.indices {
      var bytes = good
      bytes[index] ^= 0x10
      #expect(revisions(bytes) == [1])
      #expect(revisions(Array(good[..<index])) == [1])
    }
    #expect(revisions(good + [7]) == [1])
  }

  @Test("the newest comes first, by epoch and then by number")
  func ordersThem() {
    let files = [kept(3), kept(5, epoch: 6), kept(4, epoch: 8)].map { (name: "f", bytes: $0.bytes) }
    #expect(ShelfContents(files, RevisionSample.secrets).good.map(\.head.head.revision) == [4, 3, 5])
  }
}
