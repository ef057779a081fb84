extension OpenAPIDocument {
  /// What belongs to a tenant.
  static let tenants = #"""
    "TenantConfiguration":{"type":"object","additionalProperties":false,"required":["tenant","revision","text"],
    "properties":{"tenant":{"type":"string"},"revision":{"type":"integer","minimum":1},"text":{"type":"string"}}},
    "TenantApplied":{"type":"object","properties":{"revision":{"type":"integer","minimum":0},
    "changed":{"type":"boolean"},"proposal":{"type":"string"},"changes":{"type":"array"}}},
    "TenantUsage":{"type":"object","additionalProperties":false,
    "required":["tenant","scope","requests","refusals","consumers","next"],"properties":{"tenant":{"type":"string"},
    "scope":{"const":"node"},"requests":{"type":"object","additionalProperties":{"type":"integer","minimum":0}},
    "refusals":{"type":"integer","minimum":0},
    "consumers":{"type":"array","maxItems":32,"items":{"$ref":"#/components/schemas/Usage"}},
    "next":{"type":["string","null"]}}}
    """#
}
