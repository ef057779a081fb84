import Cluster
import Testing

@Suite("ClusterSecrets")
struct ClusterSecretsTests {
  private let old = ClusterSecrets(secret: Array("the old secret, long".utf8))
  private let new = ClusterSecrets(
    secret: Array("the new secret, long".utf8), former: Array("the old secret, long".utf8))
  private let text: [UInt8] = [1, 2, 3]

  @Test("What is made for one purpose or name, or by another cluster, is worth nothing for another")
  func refusals() {
    let sealed = old.seal(text, for: .value, name: "env:A")
    #expect(old.open(sealed, for: .value, name: "env:B") == nil)
    #expect(old.open(sealed, for: .head, name: "env:A") == nil)
    let signature = old.sign(text, for: .head)
    #expect(!old.verifies(text, signature, for: .snapshot))
    #expect(!old.matches(text, code: old.code(of: text, for: .audit), for: .head))
    let stranger = ClusterSecrets(secret: Array("of another cluster".utf8))
    #expect(stranger.open(sealed, for: .value, name: "env:A") == nil)
    #expect(!stranger.verifies(text, signature, for: .head))
  }

  @Test("Names of facts go by the first secret, whatever the present one")
  func names() {
    let first = Array("the old secret, long".utf8)
    let rolled = ClusterSecrets(secret: Array("the new secret, long".utf8), names: first)
    #expect(rolled.factKey.hash(1, 2) == old.factKey.hash(1, 2))
    #expect(new.factKey.hash(1, 2) != old.factKey.hash(1, 2))
  }

  @Test("A former secret still opens and verifies; it makes nothing any more")
  func rolling() {
    #expect(new.open(old.seal(text, for: .value, name: "n"), for: .value, name: "n") == text)
    #expect(new.verifies(text, old.sign(text, for: .head), for: .head))
    #expect(new.matches(text, code: old.code(of: text, for: .audit), for: .audit))
    #expect(old.open(new.seal(text, for: .value, name: "n"), for: .value, name: "n") == nil)
    #expect(!old.verifies(text, new.sign(text, for: .head), for: .head))
  }
}
