import Pipeline

/// All policies there are. Within a phase they run in the order of this list.
public enum Registry {
  /// One line a policy.
  public static let policies: [any Policy.Type] = [
    BodyLimit.self
  ]

  /// The policy type with that name in the configuration.
  public static func type(named name: String) -> (any Policy.Type)? { policies.first { $0.name == name } }

  /// Makes the policy that `type` names from its options; nil where there is none of that name. What is wrong with the
  /// options is recorded in the reader, and the result must then not be used.
  public static func make(type name: String, options: inout OptionReader) -> (any Policy)? {
    type(named: name).map { $0.init(&options) }
  }
}
