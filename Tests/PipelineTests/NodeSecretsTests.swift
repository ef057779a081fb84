import Pipeline
import Testing

@Suite("NodeSecrets")
struct NodeSecretsTests {
  private let old = NodeSecrets(secret: [1])
  private let both = NodeSecrets(secret: [2], former: [1])
  private let new = NodeSecrets(secret: [2])

  @Test("What another purpose, context or secret has sealed is not opened")
  func refuses() {
    let sealed = new.ring(for: "a").seal([7], context: [1])
    #expect(new.ring(for: "b").open(sealed, context: [1]) == nil)
    #expect(new.ring(for: "a").open(sealed, context: [2]) == nil)
    #expect(old.ring(for: "a").open(sealed, context: [1]) == nil)
    #expect(new.ring(for: "a").open([], context: [1]) == nil)
  }

  @Test("While a secret is replaced, both are good to open and only the new one seals")
  func rotates() {
    #expect(both.ring(for: "a").open(old.ring(for: "a").seal([7], context: []), context: []) == [7])
    #expect(new.ring(for: "a").open(both.ring(for: "a").seal([7], context: []), context: []) == [7])
  }
}
