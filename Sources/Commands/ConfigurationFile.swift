import Gateway
import Glibc
import Net
import Pipeline

/// A configuration file on disk, with the secrets it refers to.
enum ConfigurationFile {
  /// The largest file that is read, in bytes: a hundred times what ten thousand routes take.
  private static let limit = 256 << 20
  /// The largest secret that is read, in bytes.
  private static let secretLimit = 64 << 10

  /// Reads and compiles the file at `path`; relative paths of secrets begin at its folder.
  static func read(_ path: String) -> NodeFile {
    read(path) { text in NodeFile(text: text) { resolve($0, beside: path) } }
  }

  /// The same for a router's file.
  static func readRouter(_ path: String) -> NodeFile {
    read(path) { text in NodeFile(router: text) { resolve($0, beside: path) } }
  }

  private static func read(_ path: String, _ compile: ([UInt8]) -> NodeFile) -> NodeFile {
    do throws(Console.FileError) {
      let text = try Console.read(path, limit: limit)
      let result = compile(text)
      // What reading took is free again; kept for later, it would be a tenth of an idle node's memory.
      ProcessLimits.releaseFreeMemory()
      return result
    } catch {
      let diagnostic = Diagnostic(
        .error, line: 0, column: 0, message: "the file cannot be read (\(error.message))",
        fix: "name an existing file with -c")
      return NodeFile(unreadable: diagnostic)
    }
  }

  /// Checks the file at `path`, or standard input for `-`.
  static func check(_ path: String) throws(Console.FileError) -> BlueprintCheck {
    let text = try Console.read(path, limit: limit)
    return BlueprintCheck(text: text) { resolve($0, beside: path) }
  }

  /// Reads the file at `path`, or standard input for `-`, as what a cluster's revision says.
  static func revision(_ path: String) throws(Console.FileError) -> RevisionReading {
    let text = try Console.read(path, limit: limit)
    return RevisionReading(text: text) { resolve($0, beside: path) }
  }

  private static func resolve(_ source: SecretSource, beside path: String) -> Result<String, SecretFault> {
    switch source {
    case .environment(let name):
      guard let value = unsafe getenv(name) else { return .failure(SecretFault("the variable \(name) is not set")) }
      return .success(unsafe String(cString: value))
    case .file(let name):
      let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
      let place = name.hasPrefix("/") ? name : folder + name
      do throws(Console.FileError) {
        var bytes = try Console.read(place, limit: secretLimit)
        while let last = bytes.last, last == 10 || last == 13 { bytes.removeLast() }
        guard let text = String(validating: bytes, as: UTF8.self) else {
          return .failure(SecretFault("\(place) is not UTF-8"))
        }
        return .success(text)
      } catch { return .failure(SecretFault(error.message)) }
    }
  }
}
