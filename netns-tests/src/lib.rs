//! A laboratory of network namespaces: nodes, links that can be cut, real partners.
