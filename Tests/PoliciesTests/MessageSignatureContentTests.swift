import Core
import Crypto
import Pipeline
import Policies
import Testing

@Suite("hmac, what is signed and who signs")
struct MessageSignatureContentTests {
  private static let key = "{ id: \"one\", secret: \"\(SignedRequest.secret)\", consumer: \"shop\" }"
  private static let hello = "{\"hello\": \"world\"}"
  private static let sha256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
  private static let sha512 =
    "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
  private static let wrong = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
  private static let nothing = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"

  private func bench(_ options: String = "", facts: LoopFacts? = nil) throws -> Bench {
    let bench = try Bench(consumers: [Consumer(id: "shop", tenant: "acme")], facts: facts)
    #expect(try bench.use("{ type: \"hmac\", keys: [\(Self.key)]\(options) }") == [])
    return bench
  }

  /// What becomes of a request whose content is read.
  private func send(
    _ request: SignedRequest, _ content: String, _ bench: Bench, after seconds: Double = 0
  ) -> String {
    var exchange = Exchange()
    let verdict = bench.begin(request.text, &exchange)
    guard case .gather = verdict else { return "not gathered" }
    bench.world.advance(seconds: seconds)
    switch bench.gather(content, &exchange) {
    case .next: return exchange.consumer == 0 ? "next" : "nobody"
    case .refuse(let refusal): return "\(refusal.status) \(refusal.code)"
    default: return "else"
    }
  }

  // MARK: Content

  @Test(
    "Content that does not hash to every digest is refused",
    arguments: [
      ("\(sha256)", hello + " "), ("\(sha256)", ""), ("\(sha512)", "{\"hello\": \"World\"}"),
      ("\(sha256), \(wrong)", hello),
      ("\(wrong)", hello), ("\(wrong), \(sha512)", hello), ("md5=:Sd/dVLAcvNLSq16eXua5uQ==:", hello), ("", hello),
      ("sha-256=1", hello), ("sha-256=\"X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=\"", hello),
      ("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBA==:", hello), ("sha-256=::", hello), ("sha-256", hello),
    ])
  func digests(digest: String, content: String) throws {
    let request = SignedRequest.posting(digest, length: 18)
    #expect(try send(request, content, bench()) == "400 digest-mismatch")
  }

  @Test(
    "Content that hashes to every digest that is known passes",
    arguments: ["\(sha256)", "\(sha512)", "\(sha512), \(sha256)", "\(sha256);a=1, md5=:aGk=:, x=\"y\""])
  func content(digest: String) throws {
    #expect(try send(SignedRequest.posting(digest, length: 18), Self.hello, bench()) == "next")
  }

  @Test("Wrong content does not use the signature up")
  func contentFirst() throws {
    let bench = try bench()
    let request = SignedRequest.posting(Self.sha256, length: 18)
    #expect(send(request, "other", bench) == "400 digest-mismatch")
    #expect(send(request, Self.hello, bench) == "next")
    #expect(send(request, Self.hello, bench) == "401 signature-replayed")
  }

  @Test(
    "A signature that was good when its request began is refused once it is too old for its content",
    arguments: [(331.0, "401 signature-expired"), (329.0, "next")])
  func slowContent(seconds: Double, outcome: String) throws {
    let bench = try bench()
    let request = SignedRequest.posting(Self.sha256, length: 18)
    #expect(send(request, Self.hello, bench, after: seconds) == outcome)
  }

  @Test("No content is read for a signature that is wrong, and none of what is too large")
  func signatureFirst() throws {
    var request = SignedRequest.posting(Self.sha256, length: 18)
    var exchange = Exchange()
    let bench = try bench(", bodyLimit: \"17B\"")
    if case .gather = bench.begin(request.text, &exchange) {} else { Issue.record("it is not gathered") }
    #expect(exchange.gatherLimit == 17)
    request.secret = "x" + request.secret
    #expect(bench.send(request.text).code == "signature-invalid")
  }

  @Test("The digest of no content is checked too")
  func noContent() throws {
    var request = SignedRequest()
    request.covered.append("\"content-digest\"")
    for (digest, code) in [(Self.sha256, "digest-mismatch"), (Self.nothing, "")] {
      request.fields = [("Content-Digest", digest)]
      #expect(try bench().send(request.text).code == code)
      request.fields.append(("Content-Length", "0"))
      #expect(try bench().send(request.text).code == code)
    }
  }

  @Test("A digest that is not signed counts for nothing where none is wanted, and that is warned of")
  func unsignedDigest() throws {
    let bench = try Bench(consumers: [Consumer(id: "shop")])
    let remarks = try bench.use("{ type: \"hmac\", keys: [\(Self.key)], components: [\"@method\"] }")
    #expect(remarks.count == 1 && remarks[0].contains("may change the content"))
    let fields = [("Content-Length", "2"), ("Content-Digest", Self.wrong)]
    let request = SignedRequest(method: "POST", fields: fields.map { (name: $0.0, value: $0.1) })
    #expect(bench.send(request.text).verdict == "next")
  }

  // MARK: Forms

  @Test(
    "Components are signed in each form that is offered",
    arguments: [
      ("\"@scheme\"", "http"), ("\"@request-target\"", "/a?Id=x%20y&empty=&u=%C3%BC"),
      ("\"@authority\"", "api.example"),
      ("\"@path\"", "/a"), ("\"@query\"", "?Id=x%20y&empty=&u=%C3%BC"), ("\"@query-param\";name=\"Id\"", "x%20y"),
      ("\"@query-param\";name=\"empty\"", ""), ("\"@query-param\";name=\"u\"", "%C3%BC"),
      ("\"priority\"", "u=1,  i"), ("\"priority\";sf", "u=1, i"), ("\"priority\";key=\"u\"", "1"),
      ("\"priority\";key=\"i\"", "?1"), ("\"x-list\"", "a, b, c"), ("\"x-list\";bs", ":YSwgYg==:, :Yw==:"),
      ("\"x-map\";key=\"l\"", "(1 \"b\");p=:aGk=:"), ("\"x-map\";sf;key=\"n\"", "1.5;q"), ("\"x-empty\"", ""),
    ])
  func forms(component: String, value: String) throws {
    var request = SignedRequest(target: "/a?Id=x%20y&empty=&u=%C3%BC")
    request.fields = [
      ("Priority", "u=1,  i"), ("X-List", "a, b"), ("X-List", "c"), ("X-Map", "n=1.50;q=?1"),
      ("X-Map", "l=( 1  \"b\");p=:aGk=:"), ("X-Empty", ""),
    ]
    request.covered.append(component)
    request.values = [component: value, "\"@target-uri\"": "http://api.example\(request.target)"]
    #expect(try bench().send(request.text).verdict == "next")
    request.values[component] = value + "x"
    #expect(try bench().send(request.text).code == "signature-invalid")
  }

  @Test("Names of hosts are signed in lower case, without the port that the scheme implies")
  func authorities() throws {
    for (host, signed) in [
      ("API.Example", "api.example"), ("api.example:80", "api.example"), ("a:81", "a:81"), ("[::1]:80", "[::1]"),
    ] {
      var request = SignedRequest(host: host, covered: ["\"@method\"", "\"@authority\"", "\"@request-target\""])
      request.values = ["\"@authority\"": signed, "\"@request-target\"": request.target]
      #expect(try bench().send(request.text).verdict == "next", "\(host)")
    }
  }

  @Test("Where something in front takes TLS off, clients sign the scheme that they use")
  func scheme() throws {
    var request = SignedRequest()
    request.values = ["\"@target-uri\"": "https://api.example/orders?id=1"]
    #expect(try bench().send(request.text).code == "signature-invalid")
    #expect(try bench(", scheme: \"https\"").send(request.text).verdict == "next")
  }

  @Test("The query need not be covered where there is none")
  func noQuery() throws {
    let request = SignedRequest(target: "/orders", covered: ["\"@method\"", "\"@authority\"", "\"@path\""])
    #expect(try bench().send(request.text).verdict == "next")
    let outcome = try bench().send(request.text.replacing("/orders HTTP", with: "/orders? HTTP"))
    #expect(outcome.code == "signature-incomplete")
  }

  @Test("What must be covered is what the options say, in any form that holds all of it")
  func required() throws {
    let options = ", components: [\"x-amount\", \"@query-param;name=\\\"id\\\"\", \"content-digest\"]"
    var request = SignedRequest(fields: [("X-Amount", "10")], covered: ["\"x-amount\""])
    #expect(try bench(options).send(request.text).code == "signature-incomplete")
    request.covered = ["\"x-amount\";bs", "\"@query-param\";name=\"id\""]
    request.values = ["\"x-amount\";bs": ":MTA=:", "\"@query-param\";name=\"id\"": "1"]
    #expect(try bench(options).send(request.text).verdict == "next")
    request.covered[0] = "\"x-amount\";key=\"a\""
    #expect(try bench(options).send(request.text).code == "signature-incomplete")
  }

  // MARK: Several signatures

  @Test("A good signature passes beside others, as long as it is among the first four")
  func several() throws {
    let good = SignedRequest()
    let foreign = SignedRequest(keyID: "proxy", label: "p")
    func request(_ others: Int) -> String {
      let inputs = (0..<others).map { "p\($0)=\(foreign.input)" } + ["sig=\(good.input)"]
      let signatures = (0..<others).map { "p\($0)=\(foreign.signature)" } + ["sig=\(good.signature)"]
      return good.unsigned + "\nSignature-Input: \(inputs.joined(separator: ", "))\n"
        + "Signature: \(signatures.joined(separator: ", "))"
    }
    #expect(try bench().send(request(3)).verdict == "next")
    #expect(try bench().send(request(4)).code == "signature-invalid")
    #expect(try bench(", label: \"sig\"").send(request(4)).verdict == "next")
    #expect(try bench(", label: \"p1\"").send(request(3)).code == "signature-invalid")
    #expect(try bench(", label: \"none\"").send(request(3)).code == "signature-invalid")
  }

  @Test("Signatures for something else are not looked at")
  func tags() throws {
    let tagged = try bench(", tag: \"shop\"")
    #expect(tagged.send(SignedRequest().text).code == "signature-invalid")
    #expect(tagged.send(SignedRequest(parameters: ";tag=\"other\"").text).code == "signature-invalid")
    #expect(tagged.send(SignedRequest(parameters: ";tag=\"shop\"").text).verdict == "next")
  }

  // MARK: Who it is

  @Test(
    "A key stands for its consumer, or for itself; the upstream gets neither the signature nor what clients say of themselves"
  )
  func identity() throws {
    var request = SignedRequest(fields: [("X-Consumer-Id", "root"), ("Accept", "*/*")])
    request.covered.append("\"accept\"")
    let outcome = try bench().send(request.text + "\nsignature_input: x") {
      #expect($0.identity?.subject == "shop" && $0.consumer == 0)
    }
    #expect(outcome.verdict == "next" && outcome.passed == ["host", "accept"])
    let bench = try bench(", forward: true")
    #expect(bench.send(request.text).passed == ["host", "accept", "signature-input", "signature"])
    #expect(
      try bench.use("{ type: \"hmac\", keys: [{ id: \"one\", secret: \"\(SignedRequest.secret)\" }], replay: false }")
        == [])
    _ = bench.send(request.text) { #expect($0.identity?.subject == "one" && $0.consumer == -1) }
    let unknown = "{ id: \"one\", secret: \"\(SignedRequest.secret)\", consumer: \"nobody\" }"
    try bench.use("{ type: \"hmac\", keys: [\(unknown)], replay: false }")
    #expect(bench.send(request.text).code == "consumer-not-allowed")
  }

  @Test("A key that was revoked signs nothing any more", arguments: [RevocationKind.signingKey, .subject, .tenant])
  func revoked(kind: RevocationKind) throws {
    let markKey = SipKey(low: 5, high: 6)
    let clock = FactClock()
    clock.verifiedAt = 1_000
    let facts = LoopFacts(markKey: markKey, clock: clock, bootTime: { 1_000 })
    let bench = try bench(", replay: false", facts: facts)
    #expect(bench.send(SignedRequest().text).verdict == "next")
    var book = RevocationBook()
    let name = kind == .signingKey ? "one" : kind == .subject ? "shop" : "acme"
    _ = book.insert([Revocation(RevocationMark(kind, name, key: markKey))])
    facts.view = FactView(revocations: book.current)
    #expect(bench.send(SignedRequest().text).code == "key-revoked")
  }

  @Test("Beside other ways to know a caller it counts as one")
  func alternatives() throws {
    let bench = try Bench()
    let ways = "{ type: \"mtls\" }, { type: \"hmac\", keys: [\(Self.key.replacing(", consumer: \"shop\"", with: ""))] }"
    #expect(try bench.use("{ type: \"any-of\", policies: [\(ways)] }") == [])
    let outcome = bench.send("GET / HTTP/1.1\nHost: a")
    #expect(outcome.code == "certificate-missing" && outcome.responseFields.contains("Accept-Signature: "))
    #expect(bench.send(SignedRequest().text).verdict == "next")
    var exchange = Exchange()
    let request = SignedRequest.posting(Self.sha256, length: 18)
    guard case .gather = bench.begin(request.text, &exchange), case .next = bench.gather(Self.hello, &exchange) else {
      Issue.record("it does not pass")
      return
    }
    #expect(exchange.identity?.subject == "one")
  }

  // MARK: Options

  @Test(
    "Options that would leave a hole are refused",
    arguments: [
      ("keys: []", "empty"), ("keys: [{ id: \"a\", secret: \"short\" }]", "cannot be used"),
      ("keys: [{ id: \"a\" }]", "a secret or a public key"),
      ("keys: [\(key), \(key)]", "twice"), ("keys: [{ id: \"a\", publicKey: \"x\" }]", "cannot be used"),
      ("keys: [{ id: \"a\", secret: \"\(SignedRequest.secret)\", publicKey: \"x\" }]", "a secret or a public key"),
      ("keys: [{ id: \"a\", secret: \"\(SignedRequest.secret)\", algorithm: \"ed25519\" }]", "signs with hmac-sha256"),
      ("keys: [{ id: \"a\", secret: \"***\", encoding: \"base64\" }]", "no Base64"),
      ("keys: [{ id: \"\", secret: \"\(SignedRequest.secret)\" }]", "name this key"),
      ("keys: [\(key)], components: [\"@status\", \"content-digest\"]", "nothing that can be signed"),
      ("keys: [\(key)], components: [\"Host\", \"content-digest\"]", "nothing that can be signed"),
      ("keys: [\(key)], components: [\"@method\"]", "may change the content"),
      ("keys: [\(key)], maxAge: \"2d\"", "out of range"), ("keys: [\(key)], realm: \"a\\\"b\"", "quoted"),
      ("keys: [\(key)], nonce: \"no\"", "not possible"),
    ])
  func options(options: String, message: String) throws {
    let remarks = try Bench().use("{ type: \"hmac\", \(options) }")
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
  }
}
