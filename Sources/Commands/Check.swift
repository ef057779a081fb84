import Core
import Gateway
import Glibc
import Pipeline

extension Verb {
  /// `sluice check`.
  static let check = Verb(
    "check", "[OPTIONS] FILE", summary: "validate a configuration file",
    description: "Prints every error and warning of the file, one a line: where, what, and what to do. Nothing is\n"
      + "started. Exit status 0 if the file can be used, 1 if not. FILE - is standard input.",
    options: [
      Option("--strict", nil, "warnings count as errors, also secrets that are not known on this machine"),
      Option("--json", nil, "the outcome as JSON on standard output"),
    ],
    examples: ["sluice check sluice.json", "sluice check --json sluice.json"]
  ) { arguments throws(UsageError) in
    guard arguments.operands.count == 1 else {
      throw UsageError("check takes one file; name it, or - for standard input")
    }
    let path = arguments.operands[0]
    let text: [UInt8]
    do throws(Console.FileError) {
      text = try Console.read(path, limit: JSONLimits().bytes)
    } catch {
      Console.error("sluice check: \(error.message)\n")
      return .failed
    }
    let check = BlueprintCheck(text: text, secrets: SystemSecrets.resolver(fileAt: path))
    let isFine = check.isFine(strictly: arguments.has("--strict"))
    if arguments.has("--json") {
      Console.output(check.json(file: path, isFine: isFine))
    } else {
      Console.error(check.text(file: path))
      if isFine, let summary = check.summary { Console.output("\(path): fine, \(summary)\n") }
    }
    return isFine ? .done : .failed
  }
}

/// Where `{ env: … }` and `{ file: … }` lead on this machine.
enum SystemSecrets {
  /// The largest file that a secret may stand in.
  static let fileLimit = 1 << 20

  /// Resolves references of the configuration file at `path`: files are named relative to its directory.
  static func resolver(fileAt path: String) -> SecretResolver {
    let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    return { source in
      switch source {
      case .environment(let name):
        guard let value = unsafe getenv(name) else { return .failure(SecretFault("\(name) is not set")) }
        return .success(unsafe String(cString: value))
      case .file(let name):
        do throws(Console.FileError) {
          let bytes = try Console.read(name.hasPrefix("/") ? name : directory + name, limit: fileLimit)
          guard let text = String(validating: bytes, as: UTF8.self) else {
            return .failure(SecretFault("\(name) is not UTF-8"))
          }
          return .success(text)
        } catch {
          return .failure(SecretFault(error.message))
        }
      }
    }
  }
}
