import Core
import Pipeline
import Testing

@testable import Cluster

@Suite("The option store")
struct StoreSettingsTests {
  private func read(_ text: String, secret: String = "hush-hush") -> (StoreSettings, [String]) {
    let session = OptionSession(text: Array(text.utf8)) { _ in .success(secret) }
    var result = StoreSettings.embedded
    if let document = JSONDocument.parse(Array(text.utf8)).document {
      var reader = OptionReader(document.root, session: session)
      result = StoreSettings.read(&reader)
      reader.finish()
    }
    return (result, session.diagnostics.map { $0.text(file: "f") })
  }

  @Test(
    "What is wrong is said where it stands, without repeating what may be a secret",
    arguments: [
      ("{ store: \"redis://:tell-nobody@h:x\" }", "store: the URL's port is not from 1 to 65535"),
      ("{ store: \"memory\" }", "store: a store's URL begins with redis://"),
      ("{ store: {} }", "store.url: a store needs a URL, sentinels or a cluster"),
      ("{ store: { url: \"redis://h\", cluster: [\"h:1\"] } }", "store.cluster: a store has one shape only"),
      (
        "{ store: { url: \"redis://:a@h\", password: \"tell-nobody\" } }",
        "store.password: the URL has credentials already"
      ),
      ("{ store: { url: \"redis://h\", user: \"u\" } }", "store.user: a user needs a password"),
      ("{ store: { url: \"embedded\", database: 3 } }", "store.database: the node's own memory has no database"),
      ("{ store: { url: \"unix:///s\", tls: {} } }", "store.tls: a unix socket is not encrypted"),
      ("{ store: { url: \"redis://h\", tls: { key: \"k\" } } }", "store.tls.key: a certificate and its key"),
      ("{ store: { cluster: [\"h:1\"], database: 1 } }", "store.database: a Redis Cluster has database 0 only"),
      ("{ store: { cluster: [\"unix:/s\"] } }", "\"unix:/s\" is not an address"),
      ("{ store: { sentinel: { name: \"m\", addresses: [] } } }", "store.sentinel.addresses: this array is empty"),
      ("{ store: { sentinel: { addresses: [\"s\"] } } }", "store.sentinel.name: \"name\" is missing"),
      ("{ store: 7 }", "store: a string should be here"),
    ])
  func refusals(text: String, message: String) {
    let (_, remarks) = read(text)
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
    #expect(!remarks.contains { $0.contains("tell-nobody") })
  }

  @Test("Left out, or embedded, it is the node's own memory", arguments: ["{}", "{ store: \"embedded\" }"])
  func embedded(text: String) {
    #expect(read(text) == (.embedded, []))
  }

  @Test("A URL is one server; secrets come by reference")
  func single() {
    let plain = read("{ store: \"redis://127.0.0.1:6379/2\" }")
    let server = RedisServer(address: AddressText("127.0.0.1:6379")!, database: 2)
    #expect(plain == (.redis(.single(server)), []))
    let (settings, remarks) = read(
      """
      { store: { url: "rediss://redis.test", user: "ops", password: { env: "P" },
                 tls: { authorities: "ca.pem", certificate: "c.pem", key: "k.pem", serverName: "r" } } }
      """)
    let secured = RedisServer(
      address: AddressText("redis.test:6379")!, credentials: RedisCredentials(user: "ops", password: "hush-hush"),
      encryption: RedisEncryption(authorities: "ca.pem", certificate: "c.pem", key: "k.pem", serverName: "r"))
    #expect(settings == .redis(.single(secured)) && remarks.isEmpty)
    #expect(read("{ store: { env: \"URL\" } }", secret: "redis://h/1").1.isEmpty)
  }

  @Test("Sentinels and clusters are lists of addresses, ports left out as usual")
  func groups() {
    let (sentinels, first) = read(
      "{ store: { sentinel: { name: \"m\", addresses: [\"s1\", \"10.0.0.2:9\"] }, password: \"p\" } }")
    #expect(first.isEmpty)
    #expect(
      sentinels
        == .redis(
          .sentinel(
            RedisSentinels(
              name: "m", addresses: [AddressText("s1:26379")!, AddressText("10.0.0.2:9")!],
              server: RedisEntry(credentials: RedisCredentials(password: "p"))))))
    let (cluster, second) = read("{ store: { cluster: [\"h\", \"[::1]:7000\"], tls: {} } }")
    #expect(second.isEmpty)
    #expect(
      cluster
        == .redis(
          .cluster(
            RedisSeeds(
              addresses: [AddressText("h:6379")!, AddressText("[::1]:7000")!],
              server: RedisEntry(encryption: RedisEncryption())))))
  }

  @Test(
    "Any shape of a Redis can be strict, a plain URL is not",
    arguments: [
      ("{ store: \"redis://h\" }", false), ("{ store: { url: \"redis://h\", strict: true } }", true),
      ("{ store: { sentinel: { name: \"m\", addresses: [\"s\"] }, strict: true } }", true),
      ("{ store: { cluster: [\"h\"], strict: true } }", true), ("{ store: { cluster: [\"h\"] } }", false),
    ])
  func strict(text: String, isStrict: Bool) {
    let (settings, remarks) = read(text)
    #expect(settings.isStrict == isStrict && settings != .embedded && remarks.isEmpty)
  }

  @Test("It describes itself")
  func describes() {
    var reader = OptionReader(describing: "")
    _ = StoreSettings.read(&reader)
    #expect(reader.descriptions.map(\.name) == ["store"])
  }
}
