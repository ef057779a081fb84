import Core
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
    return BlueprintCheck(text: text) {
      resolve($0, beside: path)
    } remarks: {
      remarks(on: $0, beside: path)
    }
  }

  /// Reads the file at `path`, or standard input for `-`, as what a cluster's revision says.
  static func revision(_ path: String) throws(Console.FileError) -> RevisionReading {
    let text = try Console.read(path, limit: limit)
    return RevisionReading(text: text) { resolve($0, beside: path) }
  }

  /// What people should know of the files that a configuration names: certificates that end, and keys that others may read.
  static func remarks(on blueprint: Blueprint, beside path: String) -> [Diagnostic] {
    let sections = blueprint.listeners.compactMap(\.tls)
    let ends = blueprint.certificateRemarks(at: Clock.civil())
    let keys =
      sections.flatMap { $0.options.certificates.map(\.key) } + blueprint.upstreams.compactMap { $0.tls?.options.key }
    let open = Set(keys).sorted().filter { key in
      var status = stat()
      return unsafe stat(place(of: key, beside: path), &status) == 0 && status.st_mode & 0o004 != 0
    }
    return ends.map {
      Diagnostic(
        .warning, line: 0, column: 0, message: $0, fix: "renew it; nodes take the new files over by themselves")
    }
      + open.map {
        Diagnostic(
          .warning, line: 0, column: 0, message: "others may read the key \($0)",
          fix: "make it private: chmod o-r \($0)")
      }
  }

  private static func place(of name: String, beside path: String) -> String {
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    return name.hasPrefix("/") ? name : folder + name
  }

  /// What a file says that the configuration file at `path` names.
  static func content(_ name: String, beside path: String) -> Result<String, SecretFault> {
    resolve(.file(name), beside: path)
  }

  /// What a variable of the environment says; nil where it is not set.
  static func variable(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
  }

  private static func resolve(_ source: SecretSource, beside path: String) -> Result<String, SecretFault> {
    switch source {
    case .environment(let name):
      return variable(name).map { .success($0) } ?? .failure(SecretFault("the variable \(name) is not set"))
    case .file(let name):
      let place = place(of: name, beside: path)
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
