import Core
import Gateway
import Pipeline
import Policies
import Testing

@Suite("Schema, check and policies")
struct BlueprintSchemaTests {
  private static func schema() throws -> JSONValue {
    let outcome = JSONDocument.parse(Array(BlueprintSchema.text().utf8), dialect: .strict)
    #expect(outcome.faults == [])
    return try #require(outcome.document).root
  }

  private static func forEach(_ value: JSONValue, _ body: (JSONValue) -> Void) {
    body(value)
    for member in value.members { forEach(member.value, body) }
    for element in value.elements { forEach(element, body) }
  }

  @Test("every reference in the schema leads to a definition")
  func references() throws {
    let root = try Self.schema()
    let definitions = Set(root["$defs"]?.members.compactMap { $0.key.string } ?? [])
    var used: Set<String> = []
    Self.forEach(root) { value in
      if let reference = value["$ref"]?.string { used.insert(String(reference.dropFirst("#/$defs/".count))) }
    }
    #expect(used == definitions)
  }

  @Test("the schema knows every key of the example, and no others at the top")
  func example() throws {
    let root = try Self.schema()
    let document = try #require(JSONDocument.parse(Array(BlueprintTests.example.utf8)).document)
    for member in document.root.members {
      #expect(root["properties"]?[member.key.string ?? ""] != nil, "\(member.key.string ?? "")")
    }
    #expect(root["additionalProperties"]?.bool == false)
    #expect(root["required"]?.elements.map(\.string) == ["listeners"])
    let route = root["properties"]?["routes"]?["items"]
    #expect(route?["properties"]?["match"]?["properties"]?["path"]?["description"]?.string?.isEmpty == false)
  }

  @Test("every policy is in the schema with its options, and every option says what it does")
  func policies() throws {
    let root = try Self.schema()
    let known = root["$defs"]?["policy"]?["oneOf"]?.elements ?? []
    #expect(known.map { $0["title"]?.string } == Registry.policies.map { $0.name })
    Self.forEach(root) { value in
      for member in value["properties"]?.members ?? [] where member.value["anyOf"] == nil {
        #expect(member.value["description"]?.string != "", "\(member.key.string ?? "")")
      }
    }
  }

  @Test("a check tolerates secrets of another machine, unless it is strict")
  func missingSecrets() {
    let check = BlueprintCheck(text: Array(BlueprintTests.example.utf8)) { _ in .failure(SecretFault("it is not set")) }
    #expect(check.isFine(strictly: false))
    #expect(!check.isFine(strictly: true))
    #expect(check.diagnostics.map(\.severity) == [.warning, .warning, .warning, .warning])
    #expect(check.summary == "2 listeners, 1 route, 1 upstream, 1 consumer, 1 key")
  }

  @Test("a check of a broken file names errors as text and as JSON")
  func brokenFile() throws {
    let check = BlueprintCheck(text: Array("{ listeners: 7 }".utf8)) { _ in .success("") }
    #expect(!check.isFine(strictly: false))
    #expect(check.text(file: "f") == "f:1:14: listeners: an array should be here, not a number; put it in [ ]\n")
    let json = check.json(file: "f", isFine: false)
    let root = try #require(JSONDocument.parse(Array(json.utf8), dialect: .strict).document).root
    #expect(root["ok"]?.bool == false)
    #expect(root["diagnostics"]?.elements.first?["column"]?.integer == 14)
  }

  @Test("policies are listed in the order in which they run")
  func list() {
    let names = PolicyReference.list().split(separator: "\n").map { String($0.prefix { $0 != " " }) }
    #expect(names == PolicyReference.names)
    #expect(Set(names) == Set(Registry.policies.map { $0.name }))
    #expect(names.first == "grpc-web" && names.last == "respond")
  }

  @Test("a policy is explained with every option, nested ones too")
  func explanation() throws {
    #expect(PolicyReference.text(of: "nothing") == nil)
    let text = try #require(PolicyReference.text(of: "rate-limit"))
    for option in ["limits  list of object, required", "limits[].per", "limits[].timezone  text, default \"UTC\""] {
      #expect(text.contains(option), "\(option)")
    }
    let json = try #require(PolicyReference.json())
    let all = try #require(JSONDocument.parse(Array(json.utf8), dialect: .strict).document).root
    #expect(all.elements.map { $0["name"]?.string } == PolicyReference.names)
    for name in PolicyReference.names { #expect(PolicyReference.markdown().contains("| `\(name)` |")) }
  }
}
