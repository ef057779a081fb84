import Core
import HTTP
import Pipeline

/// Claims that the upstream learns by fields, and nobody else can make it believe.
struct SentClaims: Sendable {
  private let fields: [(field: FieldSelector, claim: ClaimPath)]

  init(_ options: inout OptionReader) {
    let wanted = options.stringMap(
      "headers", "Fields by which the upstream learns claims: { \"X-User\": \"sub\" }. A client's own are dropped.")
    fields = wanted.compactMap { name, claim in
      guard let field = FieldSelector(name), !field.framesMessages else {
        options.fail("\"\(name)\" is no field that can be sent", at: "headers", fix: "write it like \"X-User\"")
        return nil
      }
      guard let path = ClaimPath(claim) else {
        options.fail("\"\(claim)\" is no claim", at: "headers", fix: "write it like \"sub\" or \"org.name\"")
        return nil
      }
      return (field, path)
    }
  }

  /// Drops what a client says of itself.
  func dropAll(in request: RequestHead) {
    for field in fields { field.field.dropAll(in: request) }
  }

  /// The lines `Name: value\r\n` for these claims.
  func lines(of claims: JSONValue) -> [UInt8] {
    let lines = ByteBuffer()
    for (field, claim) in fields {
      guard let value = claim.value(in: claims) else { continue }
      let text = ClaimPath.text(of: value) ?? claim.list(in: claims).joined(separator: ",")
      // What cannot stand in a field is not sent: to change it might make somebody else of it.
      guard !text.isEmpty, text.utf8.allSatisfy({ $0 >= 32 && $0 != 127 }) else { continue }
      lines.append(field.text)
      lines.append(": ")
      lines.append(utf8: text)
      lines.append("\r\n")
    }
    return lines.array
  }
}
