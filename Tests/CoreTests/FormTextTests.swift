import Core
import Testing

@Suite("Forms")
struct FormTextTests {
  private func read(_ text: String, limit: Int = FormFields.longest, repeatable: [String] = []) throws -> FormFields {
    let bytes = Array(text.utf8)
    return try FormFields(RawSpan(bytes), limit: limit, repeatable: repeatable)
  }

  @Test(
    "What is no escape, or no text, is not read", arguments: ["a=%", "a=%4", "%4g=1", "a=%ff", "%C3=%A4", "a&b=%zz"])
  func malformed(text: String) {
    #expect(throws: FormFields.Fault.malformed) { try read(text) }
  }

  @Test(
    "A name that is there twice is refused, however it is escaped, unless it may be",
    arguments: ["a=1&a=2", "a=1&%61=2", "a&a", "a=&b=1&a=", "a+b=1&a%20b=2"])
  func repeated(text: String) throws {
    let error = #expect(throws: FormFields.Fault.self) { try read(text) }
    guard case .repeated(let name) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(try read(text, repeatable: [name]).values(of: name).count == 2)
  }

  @Test("What is too long is refused, in bytes and in fields")
  func bounds() throws {
    #expect(throws: FormFields.Fault.tooLong) { try read("a=12345", limit: 6) }
    #expect(throws: FormFields.Fault.tooLong) { try read("a=" + String(repeating: "1", count: FormFields.longest - 1)) }
    #expect(try read("a=12345", limit: 7)["a"] == "12345")
    let names = (0...FormFields.mostFields).map { "n\($0)=" }
    #expect(throws: FormFields.Fault.tooLong) { try read(names.joined(separator: "&")) }
    #expect(try read(names.dropLast().joined(separator: "&")).fields.count == FormFields.mostFields)
  }

  @Test("Fields are read as they are meant")
  func reads() throws {
    let form = try read("&grant_type=a%3Ab&scope=x+y%20z&&empty&void=&eq=1=2&")
    let expected = [("grant_type", "a:b"), ("scope", "x y z"), ("empty", ""), ("void", ""), ("eq", "1=2")]
    #expect(form.fields == expected.map { FormField($0.0, $0.1) })
    #expect(form["scope"] == "x y z" && form["scop"] == nil && form.values(of: "none").isEmpty)
    #expect(try read("").fields.isEmpty)
  }

  @Test("Text is written as RFC 6749 appendix B says, and read again")
  func writes() throws {
    #expect(FormText.encoded(" %&+£€") == "+%25%26%2B%C2%A3%E2%82%AC")
    #expect(FormText.encoded("aZ09*-._~/:") == "aZ09*-._%7E%2F%3A")
    let fields = [FormField("a b", "1&2=3"), FormField("ü", ""), FormField("", "x")]
    let body = FormText.body(fields)
    #expect(String(decoding: body, as: UTF8.self) == "a+b=1%262%3D3&%C3%BC=&=x")
    #expect(try FormFields(RawSpan(body)).fields == fields)
    #expect(FormText.body([]).isEmpty)
  }
}
