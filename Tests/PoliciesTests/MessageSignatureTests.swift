import Core
import Crypto
import Pipeline
import Policies
import Testing

@Suite("hmac")
struct MessageSignatureTests {
  static let now = TestIssuer.now
  private static let key = "{ id: \"one\", secret: \"\(SignedRequest.secret)\" }"

  private func bench(_ options: String = "", key: String = MessageSignatureTests.key) throws -> Bench {
    let bench = try Bench(consumers: [Consumer(id: "shop", tenant: "acme")])
    #expect(try bench.use("{ type: \"hmac\", keys: [\(key)]\(options) }") == [])
    return bench
  }

  // MARK: Refusals

  @Test("A request without a signature is refused and told what to sign, unless that is optional")
  func missing() throws {
    let outcome = try bench(", realm: \"shop\"").send("GET / HTTP/1.1\nHost: a")
    #expect(outcome.verdict == "401" && outcome.code == "signature-missing")
    #expect(
      outcome.responseFields == "WWW-Authenticate: Signature realm=\"shop\"\r\n"
        + "Accept-Signature: sig=(\"@method\" \"@target-uri\" \"content-digest\");created;keyid\r\n")
    #expect(try bench(", optional: true").send("GET / HTTP/1.1\nHost: a").verdict == "next")
  }

  @Test("What a request says was signed is refused when anything of it is another thing in the request")
  func changed() throws {
    var request = SignedRequest()
    request.fields = [("X-Amount", "10"), ("X-Amount", "20")]
    request.covered.append("\"x-amount\"")
    let good = request.text
    for (from, to) in [
      ("GET ", "POST "), ("GET ", "DELETE "), ("id=1 ", "id=2 "), ("/orders?", "/users?"), ("id=1 ", "id=1& "),
      ("Host: api", "Host: other.api"), ("Host: api.example", "Host: api.example:81"), ("X-Amount: 10", "X-Amount: 1"),
      ("X-Amount: 20\n", ""), ("X-Amount: 20", "X-Amount: 20\nX-Amount: 30"), ("X-Amount: 10", "X-Amount: 10, 5"),
      ("created=\(Self.now)", "created=\(Self.now - 1)"),
      ("(\"@method\" \"@target-uri\"", "(\"@target-uri\" \"@method\""),
      (" \"x-amount\"", ""), ("keyid=\"one\"", "keyid=\"one\";tag=\"a\""),
      ("HTTP/1.1\n", "HTTP/1.1\nConnection: x-amount\n"),
    ] {
      #expect(good.contains(from))
      let outcome = try bench().send(good.replacing(from, with: to))
      #expect(outcome.verdict == "401" && outcome.code == "signature-invalid", "\(from) \(to)")
    }
    #expect(try bench().send(good).verdict == "next")
  }

  @Test(
    "A signature that is malformed, ambiguous or says what nobody here understands is refused, however well it is made",
    arguments: [
      ";unknown=1", ";created=\(now)", ";expires=\"soon\"", ";alg=hmac-sha256", ";nonce=1", ";tag",
      ";alg=\"hmac-sha512\"",
      ";alg=\"ed25519\"", ";alg=\"\"",
    ])
  func parameters(parameters: String) throws {
    var request = SignedRequest()
    request.parameters = parameters
    #expect(try bench().send(request.text).code == "signature-invalid")
  }

  @Test(
    "A component that is not offered, or cannot be made exactly, is refused",
    arguments: [
      "\"@status\"", "\"@signature-params\"", "\"@unknown\"", "\"@method\";req", "\"@method\"", "\"@path\";sf",
      "\"Accept\"",
      "\"accept\";tr", "\"accept\";req", "\"accept\";x", "\"accept\";sf=?0", "\"accept\";sf", "\"accept\";bs;sf",
      "\"accept\";key=\"a\";bs", "\"accept\";key=1", "\"accept\";key=\"none\"", "\"absent\"", "\"\"", "\"a b\"",
      "accept", "1",
      "\"@query-param\"", "\"@query-param\";name=\"no\"", "\"@query-param\";name=\"twice\"", "\"@query-param\";name=id",
      "\"@query-param\";name=\"id\";sf", "\"broken\";key=\"a\"", "\"repeated\";key=\"a\"", "\"latin\"",
    ])
  func components(component: String) throws {
    var request = SignedRequest(target: "/orders?id=1&twice=1&twice=2")
    request.fields = [
      ("Accept", "a=1, b"), ("Broken", "a=1,"), ("Repeated", "a=1, a=2"), ("Latin", "\u{e9}"),
    ]
    request.covered.append(component)
    #expect(try bench().send(request.text).code == "signature-invalid")
  }

  @Test("Fields of signatures that do not belong together are refused")
  func mismatched() throws {
    let request = SignedRequest()
    let (input, signature) = (request.input, request.signature)
    for lines in [
      "Signature-Input: sig=\(input)", "Signature: sig=\(signature)",
      "Signature-Input: sig=\(input)\nSignature: other=\(signature)",
      "Signature-Input: sig=\(input)\nSignature: sig=\(signature), more=\(signature)",
      "Signature-Input: sig=\(input), sig=\(input)\nSignature: sig=\(signature)",
      "Signature-Input: sig=\(input)\nSignature-Input: sig=\(input)\nSignature: sig=\(signature)",
      "Signature-Input: sig=\(input)\nSignature: sig=\(signature)\nSignature: sig=\(signature)",
      "Signature-Input: sig=\(input)\nSignature: sig=\"\(signature)\"",
      "Signature-Input: sig=1\nSignature: sig=\(signature)",
      "Signature-Input: sig=\(input)\nSignature: sig=::", "Signature-Input: \nSignature: ",
      "Signature-Input: ,\nSignature: ,",
      "Signature-Input: sig=\(input),\nSignature: sig=\(signature)",
      "Signature-Input: sig=\(input)\nSignature: sig=\(signature.replacing("=:", with: ":"))",
    ] {
      #expect(try bench().send(request.unsigned + "\n" + lines).code == "signature-invalid", "\(lines)")
    }
  }

  @Test("Nothing huge is read")
  func huge() throws {
    var request = SignedRequest()
    for parameters in [
      ";nonce=\"\(String(repeating: "n", count: 17_000))\"", (0..<9).map { ";tag\($0)=1" }.joined(),
    ] {
      request.parameters = parameters
      #expect(try bench().send(request.text).code == "signature-invalid")
    }
    request.parameters = ""
    request.fields = (0..<40).map { ("x-\($0)", "v") }
    request.covered += (0..<40).map { "\"x-\($0)\"" }
    #expect(try bench().send(request.text).code == "signature-invalid")
    let others = (0..<16).map { "s\($0)=()" }.joined(separator: ", ")
    let small = SignedRequest()
    let lines = small.lines.replacing("Signature-Input: ", with: "Signature-Input: \(others), ")
    #expect(try bench().send(small.unsigned + "\n" + lines).code == "signature-invalid")
  }

  @Test("A signature of another secret, of an unknown key or of none is refused")
  func keys() throws {
    #expect(try bench().send(SignedRequest(secret: "x" + SignedRequest.secret).text).code == "signature-invalid")
    #expect(try bench().send(SignedRequest(keyID: "two").text).code == "signature-invalid")
    let request = SignedRequest()
    for part in [";created=\(Self.now)", ";keyid=\"one\""] {
      let text = request.unsigned + "\n" + request.lines.replacing(part, with: "")
      #expect(try bench().send(text).code == "signature-invalid")
    }
  }

  @Test(
    "A signature that leaves the target or the content open is refused",
    arguments: [
      [], ["\"@method\""], ["\"@target-uri\""], ["\"@method\"", "\"@path\"", "\"@query\""],
      ["\"@method\"", "\"@authority\"", "\"@path\""], ["\"@method\"", "\"@authority\"", "\"@query\""],
      ["\"@method\"", "\"@authority\"", "\"@path\"", "\"@query-param\";name=\"id\""],
    ])
  func incomplete(covered: [String]) throws {
    var request = SignedRequest(covered: covered)
    request.values = ["\"@query-param\";name=\"id\"": "1"]
    let outcome = try bench().send(request.text)
    #expect(outcome.verdict == "401" && outcome.code == "signature-incomplete")
  }

  @Test("Content must be covered by a digest that is looked at")
  func contentOpen() throws {
    var request = SignedRequest(method: "POST")
    request.fields = [("Content-Length", "2")]
    #expect(try bench().send(request.text).code == "signature-incomplete")
    request.fields = [("Transfer-Encoding", "chunked")]
    #expect(try bench().send(request.text).code == "signature-incomplete")
    request.fields = [("Content-Length", "2"), ("Content-Digest", "md5=:aGk=:, sha-256=:aGk=:")]
    request.covered.append("\"content-digest\";key=\"md5\"")
    request.values = ["\"content-digest\";key=\"md5\"": ":aGk=:"]
    #expect(try bench().send(request.text).code == "signature-incomplete")
  }

  @Test(
    "A signature is good from some seconds before it was made until it is too old, and no longer than it says",
    arguments: [
      (now + 31, "", "signature-expired"), (now + 30, "", ""), (now - 329, "", ""),
      (now - 330, "", "signature-expired"),
      (0, "", "signature-expired"), (now - 60, ";expires=\(now - 30)", "signature-expired"),
      (now - 60, ";expires=\(now - 29)", ""), (now, ";expires=\(now - 1)", "signature-expired"),
      (now - 60, ";expires=-1", "signature-expired"), (999_999_999_999_999, "", "signature-expired"),
    ])
  func times(created: Int, parameters: String, code: String) throws {
    let request = SignedRequest(parameters: parameters, created: created)
    #expect(try bench().send(request.text).code == code)
  }

  @Test("The options say how old it may be")
  func ages() throws {
    let options = ", maxAge: \"10s\", clockSkew: \"0s\""
    #expect(try bench(options).send(SignedRequest(created: Self.now - 9).text).verdict == "next")
    #expect(try bench(options).send(SignedRequest(created: Self.now - 10).text).code == "signature-expired")
    #expect(try bench(options).send(SignedRequest(created: Self.now + 1).text).code == "signature-expired")
  }

  // MARK: Replays

  @Test("A signature is good once, with or without a nonce, whatever else the request has beside it")
  func replayed() throws {
    for parameters in ["", ";nonce=\"n-1\""] {
      let bench = try bench()
      let request = SignedRequest(parameters: parameters)
      #expect(bench.send(request.text).verdict == "next")
      let outcome = bench.send(request.text)
      #expect(outcome.verdict == "401" && outcome.code == "signature-replayed")
      let renamed = request.text.replacing("sig=", with: "other=")
      #expect(bench.send(renamed + "\nX-More: 1").code == "signature-replayed")
      bench.world.advance(seconds: 320)
      #expect(bench.send(request.text).code == "signature-replayed")
      #expect(bench.send(SignedRequest(parameters: ";nonce=\"n-2\"").text).verdict == "next")
    }
  }

  @Test("A nonce is good once for each key, whatever is signed with it")
  func nonces() throws {
    let two = "{ id: \"two\", secret: \"\(SignedRequest.secret)\" }"
    let bench = try bench(", nonce: \"required\"", key: "\(Self.key), \(two)")
    #expect(bench.send(SignedRequest().text).code == "signature-incomplete")
    #expect(bench.send(SignedRequest(parameters: ";nonce=\"\"").text).code == "signature-incomplete")
    #expect(bench.send(SignedRequest(parameters: ";nonce=\"n\"").text).verdict == "next")
    #expect(bench.send(SignedRequest(target: "/", parameters: ";nonce=\"n\"").text).code == "signature-replayed")
    #expect(bench.send(SignedRequest(parameters: ";nonce=\"n\"", keyID: "two").text).verdict == "next")
  }

  @Test("The twin that anybody can make of a signature by ECDSA is the same signature")
  func malleable() throws {
    let pem = MessageSignatureVectors.curve.replacing("\n", with: "\\n")
    let lines = [
      "XIohN04PW9oe/HZ0tezfUwF3mzt4EryYGM83CeDsNfu42odHxDyz4quHOS2E7hHYtY9IpmudfQ+AL3S1UygtZg==",
      "XIohN04PW9oe/HZ0tezfUwF3mzt4EryYGM83CeDsNftHJXi3O8NMHlR4xtJ7Ee4nB1eyBzt6IXVzilYNqTr36w==",
    ].map {
      "Signature-Input: sig=(\"@method\" \"@target-uri\");created=1790000000;keyid=\"curve\"\nSignature: sig=:\($0):"
    }
    for (first, second) in [(0, 1), (1, 0)] {
      let bench = try bench(key: "{ id: \"curve\", publicKey: \"\(pem)\" }")
      let request = SignedRequest().unsigned + "\n"
      #expect(bench.send(request + lines[first]).verdict == "next")
      #expect(bench.send(request + lines[second]).code == "signature-replayed")
    }
  }

  @Test("Replays pass only where the option says so")
  func replayAllowed() throws {
    let bench = try bench(", replay: false")
    for _ in 0..<3 { #expect(bench.send(SignedRequest().text).verdict == "next") }
  }

  @Test("While it cannot be known whether a signature was used, it is refused")
  func storeAway() throws {
    let bench = try Bench(quota: ScriptedQuota(.unavailable))
    try bench.use("{ type: \"hmac\", keys: [\(Self.key)] }")
    let outcome = bench.send(SignedRequest().text)
    #expect(outcome.verdict == "503" && outcome.code == "replay-unknown" && outcome.retryAfter == 1)
    let waiting = try Bench(quota: ScriptedQuota(.waiting))
    try waiting.use("{ type: \"hmac\", keys: [\(Self.key)] }")
    #expect(waiting.send(SignedRequest().text).verdict == "wait")
  }

  // MARK: Floods

  @Test("An address whose signatures were wrong too often is not listened to for a while; others are")
  func flood() throws {
    let bench = try bench(", failuresPerAddress: 2, replay: false")
    let wrong = SignedRequest(secret: "x" + SignedRequest.secret).text
    for _ in 0..<2 { #expect(bench.send(wrong).code == "signature-invalid") }
    let outcome = bench.send(SignedRequest().text)
    #expect(outcome.verdict == "429" && outcome.code == "too-many-failures")
    #expect(bench.send(SignedRequest().text, from: "192.0.2.2").verdict == "next")
    bench.world.advance(seconds: 5.1)
    #expect(bench.send(SignedRequest().text).verdict == "next")
  }
}
