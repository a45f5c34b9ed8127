SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  // Else it would show the document to a service of Swagger's.
  validatorUrl: null,
});
