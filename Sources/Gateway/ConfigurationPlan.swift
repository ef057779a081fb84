import Core
import Pipeline

/// What applying a configuration would change, and what that would do.
public struct ConfigurationPlan: Sendable {
  /// Which objects change, and how.
  public let changes: [PlanChange]
  /// What follows from it for those who send requests.
  public private(set) var consequences: [PlanConsequence]
  /// Limits that are lowered.
  public let lowered: [LoweredLimit]
  /// How many were asked about who is over them; nil where nobody was.
  public internal(set) var survey: Survey?

  /// A look at consumers while somebody waited for it.
  public struct Survey: Equatable, Sendable {
    /// How many were looked at.
    public let consumers: Int
    /// How many there are.
    public let of: Int
    /// How many of those that were looked at are over a new limit.
    public let over: Int
  }

  /// One side: a configuration that was read without errors, and what it was read from.
  public struct Side: Sendable {
    let blueprint: Blueprint
    let text: [UInt8]
    let values: [SecretSource: String]
    let warnings: [Diagnostic]

    /// A configuration, its text, what that refers to, and what there was to say of it.
    public init(
      _ blueprint: Blueprint, text: [UInt8], values: [SecretSource: String], warnings: [Diagnostic] = []
    ) {
      self.blueprint = blueprint
      self.text = text
      self.values = values
      self.warnings = warnings
    }
  }

  /// The way from one configuration to another. Linear in their length, but for the route table.
  public init(from old: Side, to new: Side) {
    let before = PlanConsequences.Side(
      blueprint: old.blueprint, objects: PlanObjects(old.text, values: old.values))
    let after = PlanConsequences.Side(blueprint: new.blueprint, objects: PlanObjects(new.text, values: new.values))
    changes = PlanChange.all(from: before.objects, to: after.objects)
    let known = Set(old.warnings.map(\.message))
    let found = PlanConsequences(
      from: before, to: after, warnings: new.warnings.filter { !known.contains($0.message) })
    consequences = found.all
    lowered = found.lowered
  }

  /// What options say that differ, on one side, in a line; what goes beyond some thousand bytes is left out.
  public func summary(_ side: (PlanChange.Option) -> String?) -> String { Self.summary(changes, side) }

  /// The same of some changes.
  public static func summary(_ changes: [PlanChange], _ side: (PlanChange.Option) -> String?) -> String {
    var text = ""
    for change in changes {
      for option in change.options {
        guard text.utf8.count < 4096 else { return text }
        guard let value = side(option) else { continue }
        text += "\(text.isEmpty ? "" : "; ")\(change.object) \(change.name) \(option.path) \(value)"
      }
    }
    return text
  }

  /// Whether nothing would change.
  public var isEmpty: Bool { changes.isEmpty }

  /// Says also that somebody is over a limit already.
  public mutating func note(_ consumer: String, uses used: Int64, of limit: LoweredLimit) {
    consequences.append(
      PlanConsequence(
        code: .overLimit, subject: consumer,
        message: "has used \(used) of \"\(limit.policy)/\(limit.name)\", which will allow \(limit.limit)"))
  }

  /// Its members, in the object that is open: `changes`, `consequences` and, where there was one, `survey`.
  public func write(to json: inout JSONWriter) {
    json.key("changes")
    Self.write(changes, to: &json)
    json.key("consequences")
    json.beginArray()
    for consequence in consequences {
      json.beginObject()
      json.member("code", consequence.code.rawValue)
      json.member("subject", consequence.subject)
      json.member("message", consequence.message)
      json.key("serious")
      json.bool(consequence.isSerious)
      json.endObject()
    }
    json.endArray()
    guard let survey else { return }
    json.key("survey")
    json.beginObject()
    json.member("consumers", Int64(survey.consumers))
    json.member("of", Int64(survey.of))
    json.member("over", Int64(survey.over))
    json.endObject()
  }

  /// Changes, as an array.
  public static func write(_ changes: [PlanChange], to json: inout JSONWriter) {
    json.beginArray()
    for change in changes {
      json.beginObject()
      json.member("object", change.object)
      json.member("name", change.name)
      json.member("change", change.kind.rawValue)
      json.key("options")
      json.beginArray()
      for option in change.options {
        json.beginObject()
        json.member("path", option.path)
        json.member("old", option.old)
        json.member("new", option.new)
        json.key("secret")
        json.bool(option.isSecretOnly)
        json.endObject()
      }
      json.endArray()
      json.endObject()
    }
    json.endArray()
  }
}
