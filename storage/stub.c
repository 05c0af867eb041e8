/* */
typedef int cm_stub;
