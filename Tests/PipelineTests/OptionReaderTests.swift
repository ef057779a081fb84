import Core
import Pipeline
import Testing

/// Reads `text` with `body`, and answers what was said about it, each as `line:column: path: message; fix`.
func reading(
  _ text: String, secrets: @escaping SecretResolver = { _ in .failure(SecretFault("there is no such secret")) },
  _ body: (inout OptionReader) -> Void
) -> [String] {
  let session = OptionSession(text: Array(text.utf8), secrets: secrets)
  let outcome = JSONDocument.parse(Array(text.utf8))
  for fault in outcome.faults { session.record(fault) }
  if let document = outcome.document {
    var reader = OptionReader(document.root, session: session)
    body(&reader)
    reader.finish()
  }
  return session.diagnostics.map { $0.text(file: "f") }
}

@Suite("Option reader")
struct OptionReaderTests {
  enum Mode: String, CaseIterable { case auto, exact, leased }

  @Test("says what is wrong with a value, where, and what to write instead")
  func wrongValues() {
    let found = reading(
      """
      { burst: "many",
        mode: "exakt",
        wait: "5 s", size: "10",
        name: 7, on: "yes", far: 99,
        ips: ["10.0.0.0/8", "nonsense"] }
      """
    ) { options in
      #expect(options.integer("burst", in: 1...100, default: 7, "") == 7)
      #expect(options.choice("mode", default: Mode.auto, "") == .auto)
      #expect(options.duration("wait", default: .seconds(1), "") == .seconds(1))
      #expect(options.size("size", default: 64, "") == 64)
      #expect(options.string("name", "") == "")
      #expect(options.bool("on", default: true, "") == true)
      #expect(options.integer("far", in: 1...10, "") == 1)
      let cidr = OptionFormat("a CIDR", example: "10.0.0.0/8")
      #expect(options.valueList("ips", cidr, "") { $0.contains("/") ? $0 : nil } == ["10.0.0.0/8"])
      _ = options.string("missing", "")
    }
    #expect(
      found == [
        "f:1:1: missing: \"missing\" is missing; add missing: …",
        "f:1:10: burst: a whole number should be here, not a string; write digits without quotes",
        "f:2:9: mode: \"exakt\" is not possible here; did you mean \"exact\"?",
        "f:3:9: wait: \"5 s\" is not a duration; write it like \"5s\"",
        "f:3:22: size: \"10\" is not a size; write it like \"64KiB\"",
        "f:4:9: name: a string should be here, not a number; put it in double quotes",
        "f:4:16: on: true or false should be here, not a string; write it without quotes",
        "f:4:28: far: 99 is out of range; write a whole number from 1 to 10",
        "f:5:23: ips[1]: \"nonsense\" is not a CIDR; write it like \"10.0.0.0/8\"",
      ])
  }

  @Test("refuses an unknown option and guesses what was meant")
  func unknownOption() {
    let found = reading("{ limits: [{ burts: 3, per: \"ip\" }], xyz: 1 }") { options in
      _ = options.objects("limits", "") { limit in
        _ = limit.string("per", "")
        return limit.integer("burst", in: 0...9, default: 0, "")
      }
    }
    #expect(
      found == [
        "f:1:14: limits[0].burts: there is no option \"burts\" here; did you mean \"burst\"?",
        "f:1:38: xyz: there is no option \"xyz\" here; remove it; possible are \"limits\"",
      ])
  }

  @Test("never shows what came from a reference or is a secret by nature")
  func secretsStayHidden() {
    let found = reading(
      "{ a: { env: \"A\" }, list: [{ file: \"b\" }], token: \"tell-nobody\" }",
      secrets: { .success($0 == .environment("A") ? "hush-hush" : "whisper\n") }
    ) { options in
      let format = OptionFormat("a thing", example: "x")
      _ = options.optionalValue("a", format, "") { _ in Int?.none }
      _ = options.valueList("list", format, "") { _ in Int?.none }
      let token = options.secret("token", "")
      options.fail("\(token) is too short", at: "token", fix: "not \(token)")
    }
    #expect(found.count == 3)
    for text in ["hush", "whisper", "nobody"] { #expect(!found.joined().contains(text)) }
  }

  @Test("does not show parts of a secret either")
  func partsOfSecretsStayHidden() {
    let found = reading("{ a: { env: \"A\" }, b: \"plain\" }", secrets: { _ in .success("user:hush@host") }) {
      options in
      _ = options.string("a", "")
      _ = options.string("b", "")
      options.fail("\"hush\" and {hush} are wrong in it", at: "a", fix: "change it")
      options.fail("\"pl\" is wrong in it", at: "b", fix: "change it")
    }
    #expect(
      found == ["f:1:6: a: \"…\" and {…} are wrong in it; change it", "f:1:23: b: \"pl\" is wrong in it; change it"])
  }

  @Test("resolves references to the environment and to files, without the line end of a file")
  func references() {
    let found = reading(
      "{ a: { env: \"A\" }, b: { file: \"b\" }, endpoints: [\"plain\", { env: \"A\" }, { address: \"object\" }] }",
      secrets: { .success($0 == .environment("A") ? "first" : "second\r\n") }
    ) { options in
      #expect(options.string("a", "") == "first")
      #expect(options.string("b", "") == "second")
      #expect(
        options.objects("endpoints", shorthand: "address", "") { $0.string("address", "") }
          == ["plain", "first", "object"])
    }
    #expect(found == [])
  }

  @Test("says how to mend a reference that leads nowhere")
  func brokenReference() {
    let found = reading("{ a: { env: \"A\" } }") { _ = $0.string("a", "") }
    #expect(found == ["f:1:6: a: there is no such secret; set A in the environment of the process"])
  }

  @Test("complains once about one key")
  func oneComplaint() {
    let found = reading("{ a: 1 }") { options in
      _ = options.string("a", "")
      options.fail("is no address either", at: "a", fix: "")
    }
    #expect(found.count == 1)
  }

  @Test("describes what it would read, with types, defaults and nested options")
  func describing() throws {
    var reader = OptionReader(describing: "p")
    _ = reader.duration("wait", default: .milliseconds(1500), "how long")
    _ = reader.objects("limits", isRequired: true, "the limits") { $0.integer("burst", in: 1...9, "how many") }
    reader.finish()
    #expect(reader.descriptions.map(\.name) == ["wait", "limits"])
    #expect(reader.descriptions[0].defaultText == "\"1500ms\"")
    #expect(reader.descriptions[1].isRequired)
    guard case .list(.object(let nested, _), _) = reader.descriptions[1].kind else {
      Issue.record("not a list of objects")
      return
    }
    #expect(nested.map(\.help) == ["how many"])
  }
}
