import Cluster
import Core
import Gateway
import Pipeline

/// A configuration file on its way to a node: its text, and what it refers to as this machine knows it.
struct ConfigurationUpload {
  let path: String
  private let body: RevisionBody

  /// Reads the file at `path` (`-`: standard input) as a revision. Prints what there is to say of it; nil where it has
  /// errors.
  static func read(_ path: String, verb: String) -> ConfigurationUpload? {
    let reading: RevisionReading
    do throws(Console.FileError) { reading = try ConfigurationFile.revision(path) } catch {
      Console.error("sluice \(verb): \(error.message)\n")
      return nil
    }
    for diagnostic in reading.diagnostics { Console.error(diagnostic.text(file: path) + "\n") }
    guard let body = reading.body else {
      Console.error("sluice \(verb): the file has errors; nothing is changed\n")
      return nil
    }
    return ConfigurationUpload(path: path, body: body)
  }

  /// The request's body.
  var bytes: [UInt8] { Self.document(body.text, values: body.values) }

  /// A text with what it refers to, as nodes read them.
  static func document(_ text: [UInt8], values: [SecretSource: String]) -> [UInt8] {
    var json = JSONWriter(ByteBuffer())
    json.beginObject()
    json.key("text")
    json.string(String(decoding: text, as: UTF8.self))
    json.key("values")
    json.beginArray()
    for (source, value) in values {
      json.beginObject()
      switch source {
      case .environment: json.key("env")
      case .file: json.key("file")
      }
      json.string(source.name)
      json.key("value")
      json.string(value)
      json.endObject()
    }
    json.endArray()
    json.endObject()
    return json.buffer.array
  }
}

extension AdminClient {
  /// The media type of a configuration with the values that it refers to.
  static let configurationType = "application/vnd.sluice.configuration+json"

  /// Sends a request that must succeed; everything else is printed.
  func ask(_ request: Request, for verb: String, file: String? = nil) -> Answer? {
    do throws(Failure) {
      let answer = try send(request)
      if (200...202).contains(answer.status) { return answer }
      let diagnostics = answer.json?["diagnostics"]?.elements ?? []
      for diagnostic in diagnostics {
        let place =
          "\(file ?? "configuration"):\(diagnostic["line"]?.integer ?? 0):\(diagnostic["column"]?.integer ?? 0)"
        let path = diagnostic["path"]?.string.map { $0.isEmpty ? "" : "\($0): " } ?? ""
        let mark = diagnostic["severity"]?.string == "warning" ? "warning: " : ""
        Console.error(
          "\(place): \(mark)\(path)\(diagnostic["message"]?.string ?? ""); \(diagnostic["fix"]?.string ?? "")\n")
      }
      Console.error("sluice \(verb): \(failure(answer).message)\n")
    } catch { Console.error("sluice \(verb): \(error.message)\n") }
    return nil
  }
}
